"""What reaches and leaves the scores of an attention: how many are zero, the rank of the read, the gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from torch import Tensor

from mmsvf.spiking.attention_reads import AttentionRead, split_heads

from .ablation import variant
from .models import build_model, construct


def of_spikes(read: AttentionRead, q: Tensor, k: Tensor, v: Tensor) -> tuple[float, float]:
    """Of the scores of a read's query and key spikes TBCHW: the share that is zero, and the rank of what is read.

    A score is what a value is multiplied by: q k of the dot product, (2q - 1)(2k - 1) of Hamming. The rank is that of
    the reads (N, D) of a head and a clip, before BatchNorm and neuron, divided by D; N is larger.
    """
    q_, k_, v_ = (split_heads(x, read.tokens, read.num_heads, read.block_steps) for x in (q, k, v))
    scores = read.attend(q_, k_, torch.eye(k_.shape[-2]).expand(*k_.shape[:-1], -1), scale=1.0)
    ranks = torch.linalg.matrix_rank(read.attend(q_, k_, v_, scale=1.0))
    return float((scores == 0).float().mean()), float(ranks.float().mean()) / v_.shape[-1]


def signals(cfg: Config, seed: int, checkpoint: str | None = None) -> np.ndarray:
    """Means over the attentions, on the first training batch, in training: zero share, rank, gradient of q and k to v.

    The last is the norm of the loss's gradient by the weights that make queries and keys, divided by that of the
    weights that make values. Without a checkpoint the weights are the random ones of ``seed``.
    """
    # without init_weights, which may start residual branches at zero: no gradient would reach the attention
    torch.manual_seed(seed)
    model: Any = build_model(cfg, checkpoint)[0] if checkpoint else construct(cfg, ConfigDict(cfg.model))[0]
    model.train()
    units = [unit for unit in model.modules() if hasattr(unit, 'q') and hasattr(unit, 'read')]
    found: list[tuple[float, float]] = []

    def watch(read: AttentionRead, inputs: tuple[Any, ...]) -> None:
        with torch.no_grad():
            found.append(of_spikes(read, *inputs[:3]))

    for unit in units:
        unit.read.register_forward_pre_hook(watch)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=seed)))
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    loss.backward()

    def norm(part: str) -> float:
        return sum(float(p.grad.double().square().sum()) for unit in units for p in getattr(unit, part).parameters())

    gradient = np.sqrt((norm('q') + norm('k')) / max(norm('v'), 1e-300))
    return np.array([*np.mean(found, axis=0), gradient])


def table(
    config: Config, rows: dict[str, dict[str, Any]], seeds: list[int], runs: Path | None, options: dict[str, Any] | None
) -> list[str]:
    """Lines of Markdown: of each row, at random weights and, with ``runs`` of ablate.py, trained."""
    head = ['zero scores', 'rank / D', 'gradient of q, k / v']
    titles = head + [f'{name}, trained' for name in head] * bool(runs)
    lines = [f'| row | {" | ".join(titles)} |', '|' + '---|' * (len(titles) + 1)]
    for name, row in rows.items():
        found = []
        for seed in seeds:
            cfg = variant(config, seed, options, row, row=name)
            values = list(signals(cfg, seed))
            if runs:
                folder = runs / name / str(seed)
                trained = Config.fromfile(folder / 'config.py')
                values += list(signals(trained, seed, (folder / 'run' / 'last_checkpoint').read_text()))
            found.append(values)
        lines.append(f'| {name} | {" | ".join(f"{value:.3g}" for value in np.mean(found, axis=0))} |')
    return lines
