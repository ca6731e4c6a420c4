#!/usr/bin/env python
"""Write the README's moving picture: what the three demos' checkpoints of this repository say of their validation data.

    python tools/misc/make_readme_picture.py docs/images/demos.webp

The data is generated anew, and the first videos of each validation set are shown, whatever is predicted. Actions: a
digit moves, the bars are the scores of its direction. Segmentation: 60 % of the height and width of each frame is
covered, and the network has the three frames before it, uncovered, in its memory. Pose: 24 joints and the view from the
side.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmsvf.apis.predictor import Predictor
from mmsvf.apis.records import ActionRecord, PoseRecord, SegmentationRecord
from mmsvf.datasets.reading import read_list
from mmsvf.visualization import drawing
from mmsvf.visualization.skeleton import draw_skeleton, side_view

ROOT = Path(__file__).resolve().parents[2]
SIDE, GAP, STRIP = 288, 10, 96  # pixels of a panel's picture, between panels, and below a picture
FPS, FRAMES = 8, 48
SIZE = 14  # of letters


def make_data(name: str, out: Path, *options: str) -> Path:
    """Run a converter; returns its folder."""
    script = ROOT / 'tools' / 'dataset_converters' / f'{name}.py'
    subprocess.run([sys.executable, str(script), str(out / name), *options], check=True, stdout=subprocess.DEVNULL)
    return out / name


def predictor(name: str, **options: Any) -> Any:
    """The predictor of a demo, with the checkpoint that lies here."""
    (checkpoint,) = (ROOT / 'checkpoints').glob(f'{name}-*.pth')
    return Predictor.from_config(ROOT / 'configs' / 'demo' / f'{name}.py', str(checkpoint), device='cpu', **options)


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels of a tiny frame are to be seen as such."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)


def strip() -> np.ndarray:
    """What is below a picture."""
    return np.full((STRIP, SIDE, 3), drawing.PAPER, np.uint8)


def actions(data: Path) -> Iterator[np.ndarray]:
    """Panels of the first three videos."""
    model, classes = predictor('svf_moving_digits'), (data / 'classes.txt').read_text().split()
    for _, line in read_list(str(data / 'val.txt'))[:3]:
        name, label = line.split()
        records: list[ActionRecord] = list(model(data / 'val' / name))
        for record in records:
            below = strip()
            drawing.put_text(below, f'moves {classes[int(label)]}; the model says', 0, 6, SIZE, drawing.DIM)
            for k, (kind, score) in enumerate(record.top(3)):
                y = 28 + 22 * k
                drawing.put_text(below, kind, 0, y, SIZE)
                cv2.rectangle(below, (100, y + 5), (100 + 130, y + 12), drawing.GROOVE, -1)
                cv2.rectangle(below, (100, y + 5), (100 + round(130 * score), y + 12), drawing.ACCENT, -1)
                drawing.put_text(below, f'{100 * score:.0f} %', 240, y, SIZE)
            yield np.vstack([resized(record.frame.image, SIDE, SIDE), below])


def segmentation(data: Path) -> Iterator[np.ndarray]:
    """Panels of the first three videos: what the network saw of a frame, and what it says."""
    model = predictor('svf_moving_scenes_vss')
    height = (SIDE + STRIP) // 2
    for name in (data / 'vspw' / 'val.txt').read_text().split()[:3]:
        records: list[SegmentationRecord] = list(model(data / 'vspw' / 'data' / name / 'origin'))
        for record in records[3:]:  # the first ones have no three frames before them
            seen = resized(record.frame.image, SIDE, height)
            said = drawing.overlay(seen, resized(record.mask, SIDE, height), record.palette, 0.7)
            drawing.caption(seen, 'the frame')
            drawing.caption(said, 'with three earlier frames in memory')
            yield np.vstack([seen, said])


def poses(data: Path) -> Iterator[np.ndarray]:
    """Panels of the first two recordings, a step every second frame."""
    model = predictor('svf_moving_body', step=2 / 15)
    for folder in sorted((data / 'full_pic_256').glob('subject01_*'))[:2]:
        records: list[PoseRecord] = list(islice(model(folder, fps=15), FRAMES // 2))
        for record in records:
            picture = cv2.resize(record.frame.image, (SIDE, SIDE))
            picture = draw_skeleton(picture, record.pixels * (SIDE / len(record.frame.image)), 3)
            below = strip()
            below[4:, SIDE - STRIP + 4 :] = side_view(record.joints_3d, STRIP - 4)
            for k, line in enumerate(('24 joints in 3D', 'from eight grey frames,', 'at the right from the side')):
                drawing.put_text(below, line, 0, 6 + 22 * k, SIZE, drawing.INK if k == 0 else drawing.DIM)
            yield np.vstack([picture, below])


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='the picture, .webp or .gif')
    parser.add_argument('--quality', type=int, default=55, help='of a .webp (default: %(default)s)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        panels = [
            actions(make_data('moving_digits', out, '--train', '8', '--val', '8')),
            segmentation(make_data('moving_scenes', out, '--train', '1', '--val', '3', '--sequences', '1')),
            poses(make_data('moving_body', out, '--train', '1', '--test', '4', '--workers', '2')),
        ]
        pages = []
        for row in islice(zip(*panels), FRAMES):
            page = np.full((SIDE + STRIP + 40, 3 * (SIDE + GAP) + GAP, 3), drawing.PAPER, np.uint8)
            for k, (title, panel) in enumerate(zip(('actions', 'segmentation', 'pose'), row)):
                x = GAP + k * (SIDE + GAP)
                drawing.put_text(page, title, x, 6, SIZE + 2)
                page[32 : 32 + len(panel), x : x + SIDE] = panel
            pages.append(Image.fromarray(page[..., ::-1]))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    options = dict(quality=args.quality, method=6) if args.out.suffix == '.webp' else {}
    pages[0].save(args.out, save_all=True, append_images=pages[1:], duration=1000 // FPS, loop=0, **options)
    print(
        f'{args.out}: {len(pages)} frames of {page.shape[1]} x {page.shape[0]}, {args.out.stat().st_size / 1e6:.2f} MB'
    )


if __name__ == '__main__':
    main()
