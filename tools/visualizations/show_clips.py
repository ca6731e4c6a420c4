#!/usr/bin/env python
"""One picture of a test: clips as rows of frames, right and wrong ones marked, beside the confusion matrix.

Reads what `tools/test.py --dump FILE.pkl` wrote for a list of video files. Half of the clips shown are mistakes, as
far as there are any.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from mmsvf.analysis.confusions import counted, read_dump
from mmsvf.datasets.reading import open_video
from mmsvf.engine.run_config import picture_file, plain_messages
from mmsvf.files import pickles

matplotlib.use('Agg')
from matplotlib import pyplot as plt

RIGHT, WRONG = 'seagreen', 'firebrick'
GAP = 0.06  # of a frame's width


def read_frames(path: Path, count: int) -> np.ndarray:
    """The first ``count`` frames of a video file, fewer if it is shorter, (T, H, W, 3) RGB."""
    video = open_video(path)
    frames: list[np.ndarray] = []
    while len(frames) < count:
        more, frame = video.read()
        if not more:
            break
        frames.append(frame[..., ::-1])
    if not frames:
        raise OSError(f'{path} has no frame that OpenCV can read')
    return np.stack(frames)


def chosen(right: np.ndarray, count: int) -> list[int]:
    """Places of clips, evenly spread, in order: half of them wrong, or all wrong ones if these are fewer."""
    groups = [np.flatnonzero(~right), np.flatnonzero(right)]
    wrong = min(len(groups[0]), max(count // 2, count - len(groups[1])))
    counts = wrong, min(count - wrong, len(groups[1]))
    picked = [g[np.linspace(0, len(g) - 1, n).round().astype(int)] for g, n in zip(groups, counts) if n]
    return sorted(np.concatenate(picked).tolist())


def draw_clip(axes: Any, frames: np.ndarray, text: str, right: bool) -> None:
    """A clip as frames with gaps, a mark and a line above it."""
    ratio = frames.shape[1] / frames.shape[2]
    for t, frame in enumerate(frames):
        left = t * (1 + GAP)
        axes.imshow(frame, extent=(left, left + 1, 0, ratio), interpolation='nearest')
    colour = RIGHT if right else WRONG
    axes.add_patch(plt.Rectangle((-0.14, 0), 0.07, ratio, color=colour, clip_on=False))
    axes.set(xlim=(-0.14, len(frames) * (1 + GAP)), ylim=(0, ratio))
    axes.set_title(f'{"✓" if right else "✗"}  {text}', fontsize=9, loc='left', color=colour, pad=3)
    axes.axis('off')


def main() -> None:
    """Draw the picture and print the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', type=Path, help='the dumped predictions')
    parser.add_argument('ann_file', type=Path, help='the list of videos that was tested')
    parser.add_argument('videos', type=Path, help='the folder the list refers to')
    parser.add_argument('--classes', type=Path, help='class names, one per line')
    parser.add_argument('--out', type=picture_file, default='predictions.png', help='picture (default: %(default)s)')
    parser.add_argument('--clips', type=int, default=8, help='clips to show (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=8, help='frames per clip (default: %(default)s)')
    args = parser.parse_args()

    truth, predicted = (np.array(labels) for labels in read_dump(args.predictions))
    with args.predictions.open('rb') as file:
        scores = np.stack([np.asarray(sample['pred_score']) for sample in pickles.load(file)])
    names = [line.split()[0] for line in args.ann_file.read_text().splitlines()]
    if len(names) != len(truth):
        raise ValueError(f'{args.predictions} has {len(truth)} predictions, {args.ann_file} {len(names)} videos')
    classes = args.classes.read_text().splitlines() if args.classes else [f'class {i}' for i in range(scores.shape[1])]
    found = counted(truth, predicted, classes)

    shown = chosen(truth == predicted, args.clips)
    clips = [read_frames(args.videos / names[i], args.frames) for i in shown]
    width, height = args.frames, len(shown) * (0.35 + clips[0].shape[1] / clips[0].shape[2])
    figure = plt.figure(figsize=(width + 6.5, max(5.5, height) + 0.5), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=[width, 6.5])
    for axes, i, frames in zip(left.subplots(len(shown), 1, squeeze=False)[:, 0], shown, clips):
        said = f'{classes[predicted[i]]} ({scores[i].max():.0%})'
        said = said if truth[i] == predicted[i] else f'{said}, truly {classes[truth[i]]}'
        draw_clip(axes, frames, f'{names[i]}: {said}', truth[i] == predicted[i])
    axes = right.subplots()
    found.draw(axes)
    axes.set_title('videos', fontsize=10)
    wrong = int((truth != predicted).sum())
    line = f'top-1 {found.accuracy:.1%} of {len(names)} videos (chance {1 / len(classes):.1%})'
    wrong_shown = int((truth != predicted)[shown].sum())
    figure.suptitle(f'{line}; {wrong_shown} of the {wrong} mistakes are among the clips shown')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)
    print(f'{line}; picture: {args.out}')
    for true, other, number in found.pairs(3):
        print(f'{number} of {wrong} mistakes: {true} taken for {other}')


if __name__ == '__main__':
    with plain_messages():
        main()
