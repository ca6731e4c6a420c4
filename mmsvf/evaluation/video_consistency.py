"""Video consistency of segmentations (VC_n of VSPW; docs/faithfulness.md, D39), in one pass over a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def run_lengths(labels: np.ndarray) -> np.ndarray:
    """For labels (T, H, W): for how many frames up to this one a pixel's label has been the same."""
    runs = np.ones(labels.shape, np.int32)
    for t in range(1, len(labels)):
        runs[t] += np.where(labels[t] == labels[t - 1], runs[t - 1], 0)
    return runs


def video_consistency(
    predictions: np.ndarray, labels: np.ndarray, window: int, strict: bool = False, shortest: int | None = None
) -> np.ndarray:
    """Scores of the windows of a video: of the pixels whose label stays, the share whose prediction stays.

    VC_n of VSPW, as its published code computes it: a window counts where the label,
    void included, is the same in all n frames, and asks only that the prediction is, too, not
    that it is right; windows start at frames 0 to T - n - 1, so the last one is left out.

    Args:
        predictions: Labels (T, H, W).
        labels: Ground truth (T, H, W), void as any other label.
        window: Frames n of a window.
        strict: Ask that the prediction be right as well.
        shortest: Videos of at most so many frames have no score; the default is ``window``.

    Returns:
        One score per window, NaN where no label stays; empty for a short video.
    """
    count = len(labels) - window
    if count <= 0 or len(labels) <= (window if shortest is None else shortest):
        return np.empty(0)
    ends = slice(window - 1, window - 1 + count)
    stays = run_lengths(labels)[ends] >= window
    kept = stays & (run_lengths(predictions)[ends] >= window)
    if strict:
        kept &= predictions[ends] == labels[ends]
    total = stays.sum((1, 2))
    return np.where(total > 0, kept.sum((1, 2)) / np.maximum(total, 1), np.nan)


def mean_consistency(scores: Sequence[np.ndarray]) -> float:
    """The mean of all windows of all videos, in %; NaN without any."""
    windows = np.concatenate(scores) if len(scores) else np.empty(0)
    return float(100 * np.nanmean(windows)) if np.isfinite(windows).any() else float('nan')
