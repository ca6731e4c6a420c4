"""What a network does with a clip: its spikes, its attention and its energy, as plain values for a page."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from mmsvf.analysis.attention_map import attention_reads, queries_and_keys, row_of
from mmsvf.analysis.energy import CONVENTIONS, OperationCounter
from mmsvf.analysis.energy.report import Report, make_report, stage
from mmsvf.analysis.inputs import frames_and_steps, input_pictures
from mmsvf.analysis.models import NOT_COUNTED, run_model
from mmsvf.apis.prediction_files import Spread
from mmsvf.apis.predictor import Predictor
from mmsvf.engine.hooks.firing_rate_hook import neurons

CLIPS = 8  # of a video, that are kept to be looked into
LONGEST = 320  # pixels of the longer side of a frame that is shown
CELLS = 128  # of the longer side of a map: more are put together


@dataclass
class Clip:
    """An input of the network.

    Attributes:
        inputs: As the model takes it, a batch of one.
        time: Seconds into the video: that of the last frame that was read when the network saw the clip.
    """

    inputs: Tensor
    time: float
    spikes: tuple[str, Tensor, Tensor] | None = None  # queries and keys of the attention that was asked for last


@contextmanager
def kept_clips(predictor: Predictor, now: Any) -> Iterator[Spread]:
    """Keep some of the clips that a predictor's network sees, evenly spread over a video of any length.

    Args:
        predictor: The predictor, while it predicts.
        now: Says how many seconds of the video were read.

    Yields:
        Where they are: ``chosen()`` has the :class:`Clip` objects.
    """
    spread = Spread(CLIPS)

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        for inputs in single_clips(predictor.cfg, output['inputs']):
            spread.add(lambda one=inputs: Clip(one.detach().cpu().clone(), now()))

    handle = predictor.model.data_preprocessor.register_forward_hook(keep)
    try:
        yield spread
    finally:
        handle.remove()


def single_clips(cfg: Config, inputs: Any) -> Iterator[Tensor]:
    """The clips of a batch, each as a batch of one; of mmaction2's views (B, views, C, T, H, W) each is a clip."""
    inputs = torch.stack(list(inputs)) if isinstance(inputs, (list, tuple)) else inputs
    if cfg.get('default_scope') == 'mmaction' and inputs.dim() == 6:
        inputs = inputs.flatten(0, 1)[:, None]
    yield from inputs.split(1)


class Inside:
    """Looks into a model while it runs on a clip.

    Args:
        predictor: A predictor of the plain model, not of the fused one.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.cfg, self.model = predictor.cfg, predictor.model

    def _inputs(self, clip: Clip) -> Tensor:
        return clip.inputs.to(next(self.model.parameters()).device)

    def look(self, clip: Clip) -> dict[str, Any]:
        """Frames, firing rates, energy and the attentions of a clip.

        Returns:
            ``frames``: pictures as data URLs, a time step each. ``neurons``: ``name``, ``stage``, ``count`` and
            ``rates`` (spikes a neuron fires in a time step, of integer neurons as a share of their largest value).
            ``energy``: see :func:`energy_values`. ``attentions``: ``name``, ``heads``, ``score``, ``tokens``.
        """
        inputs = self._inputs(clip)
        frames, steps = frames_and_steps(self.cfg, self.model, inputs)
        counter = OperationCounter(self.model, time_steps=steps, ignore=NOT_COUNTED)
        with firing(self.model) as fired, counter:
            run_model(self.cfg, self.model, inputs)
        report = make_report(
            counter.layers, self.model, config='', inputs=tuple(inputs.shape[1:]), clips=1, frames=frames,
            time_steps=steps, source='', notes=(),
        )  # fmt: skip
        try:
            reads = attention_reads(self.model)
        except ValueError:  # another network than ours
            reads = {}
        return dict(
            time=clip.time,
            frames=[data_url(picture) for picture in input_pictures(self.cfg, inputs, steps)],
            neurons=fired,
            energy=energy_values(report),
            attentions=[
                dict(name=name, stage=stage(name), heads=read.num_heads, score=read.score, tokens=read.tokens)
                for name, read in reads.items()
            ],
        )

    def attention(self, clip: Clip, layer: str, query: Sequence[float], head: int | None = None) -> dict[str, Any]:
        """Scores of one token with those of the clip; see :func:`mmsvf.analysis.attention_map.row_of`.

        The network runs once for a layer: the next questions are answered from its queries and keys.

        Returns:
            ``scores`` (T, H, W), None where tokens do not meet, and the ``query``'s step, row and column; of large maps
            the means of squares of tokens. What a memory reads is of the earlier frames: the last has no scores, and
            the query is there.
        """
        if clip.spikes is None or clip.spikes[0] != layer:
            inputs = self._inputs(clip)
            found = queries_and_keys(self.model, lambda: run_model(self.cfg, self.model, inputs), layer)
            clip.spikes = layer, *found
        row, token, *_ = row_of(attention_reads(self.model)[layer], *clip.spikes[1:], query, head)
        _, steps = frames_and_steps(self.cfg, self.model, clip.inputs)
        if len(row) == steps - 1:
            row, token = torch.cat([row, torch.full_like(row[:1], float('nan'))]), (steps - 1, *token[1:])
        if (side := -(-max(row.shape[1:]) // CELLS)) > 1:
            row = F.avg_pool2d(row[:, None], side, ceil_mode=True)[:, 0]
            token = (token[0], token[1] // side, token[2] // side)
        values = row.cpu().double().numpy().round(4).astype(object)
        values[row.isnan().cpu().numpy()] = None
        return dict(scores=values.tolist(), query=token)


@contextmanager
def firing(model: nn.Module) -> Iterator[list[dict[str, Any]]]:
    """The firing of every spiking neuron while a model runs once; see :meth:`Inside.look`."""
    found: list[dict[str, Any]] = []

    def watch(name: str) -> Any:
        def hook(neuron: nn.Module, _: Any, spikes: Tensor) -> None:
            rates = spikes.detach().flatten(1).mean(1, dtype=torch.float64) / getattr(neuron, 'max_value', 1)
            count = spikes[0].numel()
            found.append(dict(name=name, stage=stage(name), count=count, rates=rates.cpu().tolist()))

        return hook

    try:
        handles = [neuron.register_forward_hook(watch(name)) for name, neuron in neurons(model).items()]
    except ValueError:  # a network without spikes
        handles = []
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def energy_values(report: Report) -> dict[str, Any]:
    """Energy of a clip in millijoules, layer by layer, beside that of the same network with every layer dense.

    Returns:
        ``layers``: ``name``, ``stage``, ``signal``, ``dense`` and a value by convention, None where a convention merges
        the layer into another. ``totals`` by convention and ``dense``; ``meanings``; what an operation costs in pJ.
    """
    layers = [
        dict(name=row.name, stage=row.stage, signal=row.signal, dense=row.macs * report.e_mac_pj * 1e-9, **row.energy)
        for row in report.rows
    ]
    totals = {name: total['mj_per_clip'] for name, total in report.totals.items()}
    return dict(
        layers=layers,
        totals=dict(totals, dense=report.macs * report.e_mac_pj * 1e-9),
        meanings={name: convention.meaning for name, convention in CONVENTIONS.items()},
        e_mac=report.e_mac_pj,
        e_ac=report.e_ac_pj,
        parameters=report.parameters,
    )


def data_url(picture: np.ndarray) -> str:
    """A BGR picture as a URL that holds all of it."""
    scale = min(1.0, LONGEST / max(picture.shape[:2]))
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return 'data:image/png;base64,' + base64.b64encode(cv2.imencode('.png', picture)[1].tobytes()).decode()
