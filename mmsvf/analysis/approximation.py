"""How well Hamming similarity stands for cosine similarity: Proposition 3.1 and Figure 3.

f_H is the normalised Hamming similarity of binary embeddings, f_C the cosine and g(x) = 1 - arccos(x) / pi.
"""

from __future__ import annotations

import math

import torch

CHANNELS, CHUNK = 64, 20_000


@torch.no_grad()
def errors(pairs: int, d: int, generator: torch.Generator) -> tuple[float, float]:
    """Mean and largest |f_H - g(f_C)| over random pairs, for one projection to D bits."""
    projection = torch.randn(CHANNELS, d, generator=generator)
    total, largest = 0.0, 0.0
    for start in range(0, pairs, CHUNK):
        q, k = torch.randn(2, min(CHUNK, pairs - start), CHANNELS, generator=generator)
        cosine = torch.cosine_similarity(q, k).clamp(-1, 1)
        expected = 1 - torch.arccos(cosine) / math.pi
        similarity = ((q @ projection > 0) == (k @ projection > 0)).float().mean(1)
        error = (similarity - expected).abs()
        total, largest = total + error.sum().item(), max(largest, error.max().item())
    return total / pairs, largest


def band(d: int, probability: float = 0.95) -> float:
    """Hoeffding: |f_H - g| stays below this with the probability, for one pair."""
    return math.sqrt(math.log(2 / (1 - probability)) / (2 * d))
