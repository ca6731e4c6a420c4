#!/usr/bin/env python
"""Write the embedded default: videos of a moving handwritten digit, to be told by direction.

A digit of scikit-learn moves over a still, textured background (a crop of a photograph of scikit-learn's);
the label is one of eight directions of motion. Start points are uniform and the picture wraps
around, so no single frame tells the direction. Real mp4 files and lists in mmaction2's format:

    OUT/train/*.mp4  OUT/train.txt  OUT/val/*.mp4  OUT/val.txt  OUT/classes.txt

train_digit.txt and val_digit.txt name the same files with the digit as the label, for pre-training on still frames.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits, load_sample_images

DIRECTIONS = ('east', 'south-east', 'south', 'south-west', 'west', 'north-west', 'north', 'north-east')


def background(rng: np.random.Generator, photographs: list[np.ndarray], size: int) -> np.ndarray:
    """A dark, low-contrast crop of a photograph, (size, size, 3) float in [40, 65]."""
    photograph = photographs[rng.integers(len(photographs))]
    crop = int(rng.integers(size, 3 * size))
    top, left = (int(rng.integers(0, side - crop)) for side in photograph.shape[:2])
    patch = cv2.resize(photograph[top : top + crop, left : left + crop], (size, size), interpolation=cv2.INTER_AREA)
    return 40 + patch.astype(np.float32) * (25 / 255)


def moving_digit(
    rng: np.random.Generator,
    digits: np.ndarray,
    photographs: list[np.ndarray],
    label: int,
    frames: int,
    size: int,
) -> tuple[np.ndarray, int]:
    """A clip (frames, size, size, 3) uint8 of one digit that moves by 14 to 17 pixels per frame, and which of them."""
    angle = label * np.pi / 4
    step = rng.uniform(14.0, 17.0) * np.array([np.cos(angle), np.sin(angle)])
    side = int(rng.uniform(0.45, 0.55) * size)
    which = int(rng.integers(len(digits)))
    digit = digits[which].astype(np.float32) / 16
    canvas = np.zeros((size, size), np.float32)
    canvas[:side, :side] = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    canvas = np.roll(canvas, tuple(rng.integers(0, size, 2)), (0, 1))
    still = background(rng, photographs, size)
    ink = rng.uniform(190, 255, 3).astype(np.float32)
    clip = []
    for t in range(frames):
        x, y = np.round(t * step).astype(int)
        alpha = np.roll(canvas, (y, x), (0, 1))[..., None]
        clip.append(still * (1 - alpha) + ink * alpha)
    return np.stack(clip).astype(np.uint8), which


def write_mpeg4(path: Path, frames: np.ndarray, fps: float) -> None:
    """By OpenCV's own encoder: the data set stays, bit for bit, the one that the shipped checkpoint was tested on."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, frames.shape[2:0:-1])
    if not writer.isOpened():
        raise OSError(f'cannot write {path}: OpenCV has no mp4 encoder here, or the folder is not writable')
    for frame in frames:
        writer.write(frame)
    writer.release()


def main() -> None:
    """Write the videos and their lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=2400, help='training videos (default: %(default)s)')
    parser.add_argument('--val', type=int, default=320, help='validation videos (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=16, help='frames per video (default: %(default)s)')
    parser.add_argument('--size', type=int, default=64, help='height and width in pixels (default: %(default)s)')
    parser.add_argument('--fps', type=float, default=12, help='frames per second (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    args = parser.parse_args()
    if args.size % 32:
        parser.error(f'--size {args.size}: a multiple of 32; decord 0.6 cannot read some other widths, such as 48')

    digits = load_digits()
    photographs = [image[..., ::-1] for image in load_sample_images().images]
    half = len(digits.images) // 2
    halves = {'train': slice(half), 'val': slice(half, None)}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'classes.txt').write_text('\n'.join(DIRECTIONS) + '\n')
    for part, (split, count) in enumerate((('train', args.train), ('val', args.val))):
        rng = np.random.default_rng([args.seed, part])
        (args.out / split).mkdir(exist_ok=True)
        images, names = digits.images[halves[split]], digits.target[halves[split]]
        lines, still = [], []
        for i in range(count):
            label = i % len(DIRECTIONS)
            clip, which = moving_digit(rng, images, photographs, label, args.frames, args.size)
            write_mpeg4(args.out / split / f'{i:05d}.mp4', clip, args.fps)
            lines.append(f'{i:05d}.mp4 {label}')
            still.append(f'{i:05d}.mp4 {names[which]}')
        (args.out / f'{split}_digit.txt').write_text('\n'.join(still) + '\n')
        (args.out / f'{split}.txt').write_text('\n'.join(lines) + '\n')
        print(f'{count} {split} videos of {args.frames} frames in {args.out / split}')


if __name__ == '__main__':
    main()
