"""What parts of the clips of a delayed match tell of the label: each frame, each location, the nearest clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmsvf.datasets.reading import open_video, read_list

CELLS = 32  # locations along a side
VIVID = 150  # a colour is which channels are above it


def read_clips(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Clips (N, T, H, W, 3) uint8 of a list, and their labels (N,).

    Raises:
        ValueError: videos of different lengths or sizes, or one that cannot be read.
    """
    clips: list[np.ndarray] = []
    labels: list[int] = []
    for _, line in read_list(str(folder / f'{split}.txt')):
        name, label = line.rsplit(' ', 1)
        video = open_video(folder / split / name)
        frames = []
        while (read := video.read())[0]:
            frames.append(read[1])
        if not frames or np.shape(frames) != np.shape(clips[0] if clips else frames):
            raise ValueError(f'{folder / split / name}: {len(frames)} frames could be read; all videos have one shape')
        clips.append(np.stack(frames))
        labels.append(int(label))
    return np.stack(clips), np.array(labels)


def colours(clips: np.ndarray, cells: int) -> np.ndarray:
    """Which of the eight colours are in a cell, as bits of a number (N, T, cells, cells).

    Grey within the range of the distractors counts as white.
    """
    n, t, h, w, _ = clips.shape
    seen = (clips > VIVID) @ np.array([1, 2, 4], np.uint8)
    seen = seen.reshape(n, t, cells, h // cells, cells, w // cells)
    there = [(seen == number).mean((3, 5)) > 0.02 for number in range(1, 8)]
    return np.stack(there, -1) @ (1 << np.arange(7))


def keys(values: np.ndarray) -> np.ndarray:
    """One number (N,) per clip, of its colours (N, ...) in up to nine cells."""
    return values.reshape(len(values), -1) @ (128 ** np.arange(values[0].size))


def by_memory(train: np.ndarray, labels: np.ndarray, val: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of the best guess for each key (N,), that of the training set; for an unknown key that of chance."""
    classes = int(labels.max()) + 1
    known, index = np.unique(train, return_inverse=True)
    votes = np.bincount(index * classes + labels, minlength=len(known) * classes).reshape(-1, classes)
    place = np.searchsorted(known, val).clip(max=len(known) - 1)
    right = np.where(known[place] == val, votes[place].argmax(1) == truth, 1 / classes)
    return float(right.mean())


def nearest(train: np.ndarray, labels: np.ndarray, val: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of the label of the nearest training clip, in pixels at a quarter of the size."""
    small = [clips[:, :, 1::4, 1::4].reshape(len(clips), -1).astype(np.float32) for clips in (train, val)]
    distance = (small[0] ** 2).sum(1) - 2 * small[1] @ small[0].T
    return float((labels[distance.argmin(1)] == truth).mean())


def baselines(folder: Path) -> dict[str, Any]:
    """Accuracies on the validation list of what is fitted to the training list.

    'frames': for each frame, the best guess from the colours in its quadrants. 'locations': for each of 32 x 32 cells,
    the best guess from the colours in its first and last frames (their mean, and that of the cell that is best on a
    half of the validation list, on the other half). 'nearest': the label of the nearest training clip. 'first and
    last': the best guess from the colour of the first frame and the quadrants of the last, what the task asks for.
    """
    (train, labels), (val, truth) = (read_clips(folder, split) for split in ('train', 'val'))
    quadrants = [colours(clips, 2) for clips in (train, val)]
    cells = [colours(clips[:, [0, -1]], CELLS) for clips in (train, val)]

    def remembered(a: np.ndarray, b: np.ndarray, part: slice = slice(None)) -> float:
        return by_memory(keys(a), labels, keys(b[part]), truth[part])

    frames = [remembered(quadrants[0][:, t], quadrants[1][:, t]) for t in range(train.shape[1])]
    pairs = [(cells[0][:, :, i, j], cells[1][:, :, i, j]) for i in range(CELLS) for j in range(CELLS)]
    middle = len(truth) // 2
    best = max(pairs, key=lambda pair: remembered(pair[0], pair[1], slice(middle)))
    cue = [np.bitwise_or.reduce(q[:, 0], (1, 2))[:, None] for q in quadrants]
    both = [np.concatenate([c, q[:, -1].reshape(len(q), -1)], 1) for c, q in zip(cue, quadrants)]
    return {
        'frames': frames,
        'locations, mean': float(np.mean([remembered(a, b) for a, b in pairs])),
        'locations, best': remembered(best[0], best[1], slice(middle, None)),
        'nearest': nearest(train, labels, val, truth),
        'first and last': remembered(both[0], both[1]),
    }
