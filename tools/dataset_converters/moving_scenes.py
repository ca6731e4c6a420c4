#!/usr/bin/env python
"""Write the embedded default for video segmentation: photographs that move over textures, with exact masks.

Elliptic cut-outs of scikit-image's photographs pan over one of its textures, which pans itself,
and occlude each other. Written as VSPW (OUT/vspw: data/<video>/{origin,mask}, train.txt, val.txt)
and as Cityscapes (OUT/cityscapes: leftImg8bit, gtFine, leftImg8bit_sequence).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import skimage

TEXTURES = ('brick', 'grass', 'gravel')
OBJECTS = {'cat': 'chelsea.png', 'coffee': 'coffee.png', 'astronaut': 'astronaut.png', 'rocket': 'rocket.jpg'}
CLASSES = (*TEXTURES, *OBJECTS)
# the part of each photograph that shows its object: top, bottom, left, right
PARTS = {'cat': (10, 270, 60, 400), 'coffee': (50, 370, 100, 500), 'astronaut': (0, 290, 90, 360)}
PARTS['rocket'] = (30, 420, 220, 420)


def pictures() -> dict[str, np.ndarray]:
    """Textures and cut-outs by class, BGR."""
    folder = Path(skimage.__file__).parent / 'data'
    images = {name: cv2.imread(str(folder / f'{name}.png')) for name in TEXTURES}
    for name, file in OBJECTS.items():
        top, bottom, left, right = PARTS[name]
        images[name] = cv2.imread(str(folder / file))[top:bottom, left:right]
    return images


class Mover:
    """A place that moves on a straight line and turns back at the borders."""

    def __init__(self, rng: np.random.Generator, limits: np.ndarray, speed: float) -> None:
        self.limits = limits
        self.start = rng.uniform(0, limits)
        angle = rng.uniform(0, 2 * np.pi)
        self.step = speed * np.array([np.sin(angle), np.cos(angle)])

    def at(self, t: int) -> np.ndarray:
        """Row and column (2,) at frame ``t``."""
        place = np.mod(self.start + t * self.step, 2 * self.limits)
        return np.where(place > self.limits, 2 * self.limits - place, place)


def scene(
    rng: np.random.Generator, images: dict[str, np.ndarray], frames: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """A clip (T, H, W, 3) uint8 BGR and its labels (T, H, W), indices of CLASSES."""
    size = np.array([height, width])
    texture = str(rng.choice(TEXTURES))
    ground = images[texture]
    zoom = rng.uniform(0.5, 0.9)
    ground = cv2.resize(ground, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    ground = (ground * rng.uniform(0.7, 1.1)).clip(0, 255).astype(np.uint8)
    view = Mover(rng, np.array(ground.shape[:2]) - size - 1.0, rng.uniform(0.5, 2.5))
    things = []
    for name in rng.choice(list(OBJECTS), rng.integers(2, 4), replace=False):
        tall = int(height * rng.uniform(0.4, 0.65))
        wide = min(width - 2, int(tall * images[name].shape[1] / images[name].shape[0]))
        patch = cv2.resize(images[name], (wide, tall), interpolation=cv2.INTER_AREA)
        shape = np.zeros((tall, wide), np.uint8)
        cv2.ellipse(shape, (wide // 2, tall // 2), (wide // 2 - 1, tall // 2 - 1), 0, 0, 360, (1,), -1)
        mover = Mover(rng, size - np.array([tall, wide]) + 0.0, rng.uniform(0.5, 3.0))
        things.append((CLASSES.index(name), patch, shape.astype(bool), mover))
    clip, labels = np.empty((frames, height, width, 3), np.uint8), np.empty((frames, height, width), np.uint8)
    for t in range(frames):
        y, x = view.at(t).astype(int)
        clip[t], labels[t] = ground[y : y + height, x : x + width], CLASSES.index(texture)
        for label, patch, shape, mover in things:
            y, x = mover.at(t).astype(int)
            part = slice(y, y + shape.shape[0]), slice(x, x + shape.shape[1])
            clip[t][part][shape] = patch[shape]
            labels[t][part][shape] = label
    return clip, labels


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture and its folder; OSError if it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f'cannot write {path}')


def write_vspw(root: Path, video: str, clip: np.ndarray, labels: np.ndarray) -> None:
    """Frames and masks of a video; label 0 is void there, so the classes start at 1."""
    for t, (frame, mask) in enumerate(zip(clip, labels)):
        write(root / 'data' / video / 'origin' / f'{t:08d}.jpg', frame)
        write(root / 'data' / video / 'mask' / f'{t:08d}.png', mask + 1)


def write_cityscapes(root: Path, split: str, index: int, clip: np.ndarray, labels: np.ndarray) -> None:
    """A sequence of which the 20th frame is labelled."""
    for t, frame in enumerate(clip):
        name = f'scenes_{index:06d}_{t:06d}'
        write(root / 'leftImg8bit_sequence' / split / 'scenes' / f'{name}_leftImg8bit.png', frame)
        if t == 19:
            write(root / 'leftImg8bit' / split / 'scenes' / f'{name}_leftImg8bit.png', frame)
            write(root / 'gtFine' / split / 'scenes' / f'{name}_gtFine_labelTrainIds.png', labels[t])


def main() -> None:
    """Write both layouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=120, help='training videos (default: %(default)s)')
    parser.add_argument('--val', type=int, default=16, help='validation videos (default: %(default)s)')
    parser.add_argument('--sequences', type=int, default=4, help="sequences per split of Cityscapes' layout")
    parser.add_argument('--frames', type=int, default=24, help='frames per video (default: %(default)s)')
    parser.add_argument('--height', type=int, default=64, help='pixels (default: %(default)s)')
    parser.add_argument('--width', type=int, default=96, help='pixels (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    args = parser.parse_args()
    images = pictures()
    vspw = args.out / 'vspw'
    vspw.mkdir(parents=True, exist_ok=True)  # also where no video of a split is asked for
    for part, (split, count) in enumerate((('train', args.train), ('val', args.val))):
        rng = np.random.default_rng([args.seed, part])
        for i in range(count):
            write_vspw(vspw, f'{split}_{i:03d}', *scene(rng, images, args.frames, args.height, args.width))
        (vspw / f'{split}.txt').write_text(''.join(f'{split}_{i:03d}\n' for i in range(count)))
        for i in range(args.sequences):
            write_cityscapes(args.out / 'cityscapes', split, i, *scene(rng, images, 30, args.height, args.width))
        print(f'{count} {split} videos of {args.frames} frames in {vspw}; {args.sequences} sequences in cityscapes')
    (vspw / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')


if __name__ == '__main__':
    main()
