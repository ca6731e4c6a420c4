"""Scores of one token with all others, over the frames of a clip, as a figure and frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

COLUMNS, MARK = 8, '#ff3b30'


def draw_frame(
    axes: Any, frame: np.ndarray, scores: np.ndarray, norm: Any, token: tuple[int, int] | None = None
) -> None:
    """A frame (H, W, 3) in grey under its tokens' scores (h, w); a frame and a cross mark the query's ``token``.

    Tokens keep their edges: what is between two of them was not computed. NaN stays clear.
    """
    height, width = frame.shape[:2]
    extent = (0, width, height, 0)
    grey = np.repeat(frame.mean(-1, keepdims=True), 3, -1) / 255
    axes.imshow(grey, extent=extent, interpolation='bilinear')
    if norm.vmax > norm.vmin:
        axes.imshow(scores, cmap='viridis', norm=norm, extent=extent, alpha=0.6, interpolation='nearest')
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    for side in axes.spines.values():
        side.set(visible=token is not None, color=MARK, linewidth=2.5)
    if token is not None:
        (y, x), (rows, columns) = token, scores.shape
        axes.plot(
            (x + 0.5) * width / columns, (y + 0.5) * height / rows, '+', color=MARK, markersize=11, markeredgewidth=2
        )


def draw_bar(figure: Figure, axes: Any, norm: Any, label: str) -> None:
    """A colour bar with the ends of the scores' range on it; none where there is no range."""
    if norm.vmax > norm.vmin:
        bar = figure.colorbar(ScalarMappable(norm, 'viridis'), ax=axes, label=label, fraction=0.04, pad=0.015)
        ticks = [norm.vmin, (norm.vmin + norm.vmax) / 2, norm.vmax]
        bar.set_ticks(ticks, labels=[f'{tick:.3f}' for tick in ticks])


def draw_clip(
    frames: np.ndarray, scores: np.ndarray, query: tuple[int, int, int], title: str, label: str, remark: str = ''
) -> Figure:
    """All frames of a clip with a colour bar of the scores' own range.

    Args:
        frames: RGB frames (T, H, W, 3) uint8.
        scores: (T, h, w); NaN where tokens do not meet.
        query: Time step, row and column of the query on the tokens' grid.
        title, label: Words above the figure and beside the colour bar.
        remark: What the scores cannot show; it stands under the title.
    """
    norm = range_of(scores)
    columns = min(COLUMNS, len(frames))
    rows = math.ceil(len(frames) / columns)
    height = rows * (1.75 * frames.shape[1] / frames.shape[2] + 0.3)
    figure = Figure(figsize=(1.75 * columns + 1.4, height + 0.8), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False)
    for t, axes in enumerate(panels.flat):
        if t >= len(frames):
            axes.axis('off')
            continue
        at_query = t == query[0]
        draw_frame(axes, frames[t], scores[t], norm, query[1:] if at_query else None)
        axes.set_title(
            f't = {t + 1}' + (', query' if at_query else ''), fontsize=9, color=MARK if at_query else 'black'
        )
    draw_bar(figure, panels, norm, label)
    figure.suptitle(f'{title}\n{remark}' if remark else title, fontsize=11)
    return figure


def clip_pictures(
    frames: np.ndarray, scores: np.ndarray, query: tuple[int, int, int], label: str, remark: str = ''
) -> Iterator[np.ndarray]:
    """The same frame by frame, as BGR pictures (H, W, 3) uint8 of one size, for a video."""
    norm = range_of(scores)
    figure = Figure(figsize=(5.6, 4.4 * frames.shape[1] / frames.shape[2] + 0.8), layout='constrained')
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    draw_bar(figure, axes, norm, label)
    for t, frame in enumerate(frames):
        axes.clear()
        draw_frame(axes, frame, scores[t], norm, query[1:] if t == query[0] else None)
        axes.set_title(f't = {t + 1}' + (', query' if t == query[0] else '') + (f'\n{remark}' if remark else ''))
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., 2::-1].copy()


def range_of(scores: np.ndarray) -> Any:
    """The range of scores that are there."""
    return Normalize(float(np.nanmin(scores)), float(np.nanmax(scores)))
