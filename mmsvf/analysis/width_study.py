"""Hamming and dot-product attention in narrow networks: how true their similarities are, and what they are worth.

Of the runs of :mod:`.ablation` with configs/ablation/width.yml. Query and key spikes of a head are compared over all
pairs of tokens of a clip with what the neurons were given: f_C is the cosine of a query's and a key's membrane inputs,
f_H the Hamming similarity of the spikes (Eq. 6), and g(x) = 1 - arccos(x) / pi.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.utils import track_iter_progress
from scipy import stats
from torch import Tensor

from mmsvf.spiking.attention import SpikeProjection, split_heads
from mmsvf.spiking.hamming import hamming_similarity_bilinear

from .ablation import differences, spread
from .approximation import errors
from .inputs import loader_inputs
from .models import build_model, run_model


class Line(NamedTuple):
    """A width: channels of a head, parameters, what :func:`compare` gives, Fig. 3's error, accuracies by seed."""

    width: int
    channels: int
    parameters: int
    similarity: np.ndarray
    random: float
    hamming: np.ndarray
    dot: np.ndarray


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, with ties; 0 where one of them is constant."""
    if a.min() == a.max() or b.min() == b.max():
        return 0.0
    return float(stats.spearmanr(a.flatten().numpy(), b.flatten().numpy()).statistic)


def compare(query: tuple[Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[float, float, float]:
    """Error of f_H, rank correlation of f_H and of the dot product, with f_C; (spikes, inputs), each (..., N, D)."""
    (q, u), (k, w) = query, key
    cosine = torch.nn.functional.normalize(u, dim=-1) @ torch.nn.functional.normalize(w, dim=-1).transpose(-2, -1)
    cosine = cosine.clamp(-1, 1)
    hamming, dot = hamming_similarity_bilinear(q, k), q @ k.transpose(-2, -1)
    error = (hamming - (1 - torch.arccos(cosine) / math.pi)).abs().mean()
    heads = [x.flatten(0, -3) for x in (hamming, dot, cosine)]
    ranks = [(rank_correlation(h, c), rank_correlation(d, c)) for h, d, c in zip(*heads)]
    rank_hamming, rank_dot = np.mean(ranks, axis=0)
    return float(error), float(rank_hamming), float(rank_dot)


@torch.no_grad()
def measure(cfg: Config, checkpoint: str, clips: int) -> np.ndarray:
    """Mean over layers and clips of what :func:`compare` gives, of a trained network."""
    model, _ = build_model(cfg, checkpoint)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    found: list[tuple[float, float, float]] = []

    def watch(name: str) -> Any:
        def hook(module: SpikeProjection, inputs: tuple[Tensor], spikes: Tensor) -> None:
            seen[name] = spikes, module.conv(inputs[0])

        return hook

    units = {name: unit for name, unit in model.named_modules() if hasattr(unit, 'q') and hasattr(unit, 'read')}
    for name, unit in units.items():
        for part in 'qk':
            getattr(unit, part).register_forward_hook(watch(f'{name}.{part}'))
    for x in loader_inputs(cfg, model, clips):
        run_model(cfg, model, x)
        for name, unit in units.items():
            q, u, k, w = (
                split_heads(x, unit.read.tokens, unit.read.num_heads) for part in 'qk' for x in seen[f'{name}.{part}']
            )
            found.append(compare((q, u), (k, w)))
    return np.mean(found, axis=0)


def study(runs: Path, metric: str, clips: int) -> list[Line]:
    """A line for each width of which there are runs.

    Raises:
        FileNotFoundError: there are none.
    """
    widths = sorted(int(path.name.split('_')[1]) for path in runs.glob('hamming_*'))
    if not widths:
        raise FileNotFoundError(f'{runs} has no rows hamming_C: train them with ablate.py and width.yml')
    lines = []
    for width in track_iter_progress(widths):
        accuracy, measured, channels, size = {}, [], 0, 0
        for score in ('hamming', 'dot'):
            results = sorted((runs / f'{score}_{width}').glob('*/result.json'))
            accuracy[score] = {path.parent.name: json.loads(path.read_text())[metric] for path in results}
            for path in results if score == 'hamming' else ():
                cfg = Config.fromfile(path.parent / 'config.py')
                model, _ = build_model(cfg)
                size = sum(p.numel() for p in model.parameters())
                channels = width // cfg.model.backbone.get('num_heads', 8)
                measured.append(measure(cfg, (path.parent / 'run' / 'last_checkpoint').read_text(), clips))
        random = errors(100_000, channels, torch.Generator().manual_seed(0))[0]
        seeds = sorted(set(accuracy['hamming']) & set(accuracy['dot']))
        hamming, dot = (np.array([accuracy[score][seed] for seed in seeds]) for score in ('hamming', 'dot'))
        lines.append(Line(width, channels, size, np.mean(measured, axis=0), random, hamming, dot))
    return lines


def table(lines: list[Line], metric: str, clips: int) -> str:
    """The lines as Markdown."""
    rows = [
        f'{metric}; similarities on {clips} test clips, torch {torch.__version__}\n\n'
        '| width C | D | parameters | error | random | rank Hamming | rank dot | Hamming | dot | Hamming - dot, paired '
        '| 95 % interval |\n|---|---|---|---|---|---|---|---|---|---|---|'
    ]
    for line in lines:
        error, rank_hamming, rank_dot = line.similarity
        cells = [f'{x:.3f}' for x in (error, line.random, rank_hamming, rank_dot)]
        cells += [spread(line.hamming), spread(line.dot)]
        cells += differences(line.hamming, line.dot)
        rows.append(f'| {line.width} | {line.channels} | {line.parameters:,} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def draw(lines: list[Line], metric: str, out: Path) -> None:
    """Errors and accuracies against the width, as a picture."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
    depth = [line.channels for line in lines]
    axes[0].plot(depth, [line.similarity[0] for line in lines], marker='o', label='trained network')
    axes[0].plot(depth, [line.random for line in lines], marker='o', label='Gaussian projections')
    axes[0].set(xlabel='channels of a head D', ylabel='|f_H - g(f_C)|')
    for label, found in (('Hamming', [x.hamming for x in lines]), ('dot product', [x.dot for x in lines])):
        deviations = [x.std(ddof=1) if len(x) > 1 else 0 for x in found]
        axes[1].errorbar(depth, [x.mean() for x in found], deviations, marker='o', capsize=3, label=label)
    axes[1].set(xlabel='channels of a head D', ylabel=metric)
    for ax in axes:
        ax.set_xscale('log', base=2)
        ax.legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)
