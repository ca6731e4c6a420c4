#!/usr/bin/env python
"""Write videos of a delayed match to sample: which of four patches is the one that was shown at the start?

The first frame shows one coloured patch at a random place: the cue. Handwritten digits of scikit-learn, black and white
and larger than the patches, are the distractors that fill the delay. The last frames show a patch of each of four
colours, each somewhere in its own quadrant; the label is the quadrant of the cue's colour. Colour, place of the cue and
order of the candidates are independent: the first frame has the colour and no place, a last one has all places and all
colours. Lossless files (FFV1), so that no frame holds a trace of an earlier one, and lists in mmaction2's format:

    OUT/train/*.avi  OUT/train.txt  OUT/val/*.avi  OUT/val.txt  OUT/classes.txt

train_cue.txt and val_cue.txt name the first of these files with the colour of the cue as the label, for pre-training on
the first frames alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits

PLACES = ('top-left', 'top-right', 'bottom-left', 'bottom-right')
# red, green, blue, white: seen from the grey behind them the corners of a tetrahedron, as unlike as four colours can be
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.float32)


def paste(frame: np.ndarray, patch: np.ndarray, ink: np.ndarray, top: int, left: int) -> None:
    """Put ``ink`` (3,) on a frame (H, W, 3), as opaque as ``patch`` (h, w) in [0, 1] says."""
    region = frame[top : top + len(patch), left : left + len(patch)]
    region[:] += patch[..., None] * (ink - region)


def draw_places(rng: np.random.Generator, size: int, side: int) -> np.ndarray:
    """Top left corners (5, 2) of the cue and of a candidate in each quadrant; the cue covers no pixel of a candidate.

    A pixel that both covered would tell a quarter of the labels by itself.
    """
    half = size // 2
    while True:
        corners = rng.integers(0, half - side + 1, (4, 2)) + half * np.array([divmod(place, 2) for place in range(4)])
        cue = rng.integers(0, size - side + 1, 2)
        if (abs(corners - cue) >= side).any(1).all():
            return np.vstack([cue, corners])


def match_clip(
    rng: np.random.Generator, digits: np.ndarray, label: int, colour: int, frames: int, delay: int, size: int
) -> np.ndarray:
    """A clip (frames, size, size, 3) uint8, RGB: a cue frame, ``delay`` frames of distractors, then the candidates."""
    side, digit_side = size // 4, size * 3 // 4
    cue, *places = draw_places(rng, size, side)
    clip = np.zeros((frames, size, size, 3), np.float32) + rng.uniform(80, 140, (frames, 1, 1, 1)).astype(np.float32)
    square = np.ones((side, side), np.float32)
    paste(clip[0], square, COLOURS[colour], *cue)
    for frame in clip[1 : 1 + delay]:
        for _ in range(8):
            digit = cv2.resize(digits[rng.integers(len(digits))].astype(np.float32), (digit_side, digit_side))
            ink = np.full(3, rng.choice([0, 255]))
            paste(frame, digit / 16, ink, *rng.integers(0, size - digit_side + 1, 2))
    others = iter(rng.permutation([other for other in range(len(COLOURS)) if other != colour]))
    for place, corner in enumerate(places):
        ink = COLOURS[colour if place == label else next(others)]
        for frame in clip[1 + delay :]:
            paste(frame, square, ink, *corner)
    return clip.round().astype(np.uint8)


def write_lossless(path: Path, frames: np.ndarray, fps: float) -> None:
    """RGB frames (T, H, W, 3) as FFV1 in avi, which OpenCV and decord read.

    Raises:
        OSError: the folder is not writable, or this OpenCV has no encoder.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'FFV1'), fps, frames.shape[2:0:-1])
    if not writer.isOpened():
        raise OSError(f'cannot write {path}: OpenCV has no FFV1 encoder here, or the folder is not writable')
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def main() -> None:
    """Write the videos and their lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=16000, help='training videos (default: %(default)s)')
    parser.add_argument('--val', type=int, default=640, help='validation videos (default: %(default)s)')
    parser.add_argument('--cues', type=int, default=6400, help='lines of a list of cues (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=8, help='frames per video (default: %(default)s)')
    parser.add_argument('--delay', type=int, help='frames between cue and candidates (default: FRAMES - 3)')
    parser.add_argument('--size', type=int, default=64, help='height and width in pixels (default: %(default)s)')
    parser.add_argument('--fps', type=float, default=4, help='frames per second (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    args = parser.parse_args()
    delay = max(0, args.frames - 3) if args.delay is None else args.delay
    if not 0 <= delay <= args.frames - 2:
        parser.error(f'--delay {delay}: 0 to {args.frames - 2} of {args.frames} frames, as cue and candidates need two')
    if args.size < 32 or args.size % 32:
        parser.error(f'--size {args.size}: a multiple of 32; decord 0.6 cannot read some other widths, such as 48')

    digits = load_digits().images
    halves = {'train': digits[: len(digits) // 2], 'val': digits[len(digits) // 2 :]}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'classes.txt').write_text('\n'.join(PLACES) + '\n')
    for part, (split, count) in enumerate((('train', args.train), ('val', args.val))):
        rng = np.random.default_rng([args.seed, part])
        (args.out / split).mkdir(exist_ok=True)
        lines, cues = [], []
        for i in range(count):  # label and colour: every pair equally often
            label, colour = i % len(PLACES), i // len(PLACES) % len(COLOURS)
            clip = match_clip(rng, halves[split], label, colour, args.frames, delay, args.size)
            write_lossless(args.out / split / f'{i:05d}.avi', clip, args.fps)
            lines.append(f'{i:05d}.avi {label}\n')
            cues.append(f'{i:05d}.avi {colour}\n')
        (args.out / f'{split}.txt').write_text(''.join(lines))
        (args.out / f'{split}_cue.txt').write_text(''.join(cues[: args.cues]))
        print(f'{count} {split} videos of {args.frames} frames, {delay} of them the delay, in {args.out / split}')


if __name__ == '__main__':
    main()
