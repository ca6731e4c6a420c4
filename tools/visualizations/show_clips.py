#!/usr/bin/env python
"""One picture of a test: clips as rows of frames, with true and predicted labels, and top-1 next to chance.

Reads what `tools/test.py --dump FILE.pkl` wrote for a list of video files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from mmsvf.files import pickles

matplotlib.use('Agg')
from matplotlib import pyplot as plt


def read_frames(path: Path, count: int) -> np.ndarray:
    """The first ``count`` frames of a video file, fewer if it is shorter, (T, H, W, 3) RGB."""
    video = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    while len(frames) < count:
        more, frame = video.read()
        if not more:
            break
        frames.append(frame[..., ::-1])
    if not frames:
        raise OSError(f'{path} has no frame that OpenCV can read')
    return np.stack(frames)


def main() -> None:
    """Draw the picture and print the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', type=Path, help='the dumped predictions')
    parser.add_argument('ann_file', type=Path, help='the list of videos that was tested')
    parser.add_argument('videos', type=Path, help='the folder the list refers to')
    parser.add_argument('--classes', type=Path, help='class names, one per line')
    parser.add_argument('--out', type=Path, default=Path('predictions.png'), help='picture (default: %(default)s)')
    parser.add_argument('--clips', type=int, default=8, help='clips to show (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=8, help='frames per clip (default: %(default)s)')
    args = parser.parse_args()

    with args.predictions.open('rb') as file:
        samples = pickles.load(file)
    names = [line.split()[0] for line in args.ann_file.read_text().splitlines()]
    if len(names) != len(samples):
        raise ValueError(f'{args.predictions} has {len(samples)} predictions, {args.ann_file} {len(names)} videos')
    truth = np.array([int(sample['gt_label']) for sample in samples])
    scores = np.stack([np.asarray(sample['pred_score']) for sample in samples])
    predicted = scores.argmax(1)
    classes = args.classes.read_text().split() if args.classes else [str(i) for i in range(scores.shape[1])]

    chosen = np.linspace(0, len(names) - 1, args.clips).round().astype(int)
    figure, axes = plt.subplots(args.clips, 1, figsize=(args.frames * 1.1, args.clips * 1.35), squeeze=False)
    for axis, i in zip(axes[:, 0], chosen):
        axis.imshow(np.concatenate(read_frames(args.videos / names[i], args.frames), axis=1))
        right = truth[i] == predicted[i]
        axis.set_title(
            f'{names[i]}: true {classes[truth[i]]}, predicted {classes[predicted[i]]} ({scores[i].max():.0%})',
            fontsize=9,
            loc='left',
            color='darkgreen' if right else 'firebrick',
        )
        axis.axis('off')
    figure.tight_layout()
    figure.savefig(args.out, dpi=110)
    print(
        f'top-1 {np.mean(truth == predicted):.1%} of {len(names)} videos (chance {1 / len(classes):.1%}); '
        f'picture: {args.out}'
    )


if __name__ == '__main__':
    main()
