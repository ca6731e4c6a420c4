#!/usr/bin/env python
"""Write your own recordings with SMPL annotations in MMHPSD's layout B, which the configs of pose read.

    python tools/dataset_converters/make_pose_recordings.py FOLDER OUT --val 0.2 --seed 0

FOLDER has videos NAME.mp4 (or of another suffix, or a folder NAME of pictures, --fps), each with NAME.npz: arrays with
a row a frame, by the names of tools/predict.py's .npz,

    pose (F, 24, 3)       SMPL's, as axis-angle           shape (F, 10)
    translation (F, 3)    metres in the camera's coordinates (x right, y down, z forward)
    joints_3d (F, 24, 3)  the same
    joints_2d (F, 24, 2)  pixels of the square that the model sees, scaled to 256 x 256
    squares (F, 3)        left, top and side of that square in pixels of the frame (default: the one in the middle)
    frames (F,)           numbers of the annotated frames (default: 0, 1, ...)

Frames are taken at MMHPSD's 15 a second. OUT/recordings.txt says which recording got which name and side.
docs/own_data.md goes on from here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmsvf.apis.sources import find_sources, open_source
from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.datasets.grey_pictures import cut_square, grey_picture, middle_square
from mmsvf.datasets.mmhpsd import RATE
from mmsvf.datasets.mmhpsd_layouts import LayoutB
from mmsvf.datasets.own_lists import check_new, draw_split, write_new
from mmsvf.datasets.reading import read_npz, reading
from mmsvf.engine.run_config import plain_messages

SHAPES = dict(pose=(24, 3), shape=(10,), translation=(3,), joints_3d=(24, 3), joints_2d=(24, 2))


def read_annotations(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a recording, a row a frame.

    Raises:
        UnreadableError: no .npz, a missing array, or one of another shape.
    """
    found = read_npz(path, tuple(SHAPES), ('frames', 'squares'))
    count = len(found['pose'])
    found.setdefault('frames', np.arange(count))
    for name, shape in dict(SHAPES, frames=(), **({'squares': (3,)} if 'squares' in found else {})).items():
        with reading(path, 'each array has a row a frame'):
            if found[name].shape != (count, *shape):
                raise ValueError(f'{name} has the shape {found[name].shape}; {(count, *shape)} expected')
    return found


def write_recording(source: str, fps: float, layout: LayoutB, action: str) -> int:
    """Write a recording; returns the number of its frames.

    Raises:
        ValueError: less than 15 poses a second, or frames that the video does not have.
    """
    path = Path(source).with_suffix('.npz')
    given = read_annotations(path)
    rows = {int(frame): row for row, frame in enumerate(given['frames'])}
    pictures = layout.root / layout.frames / action / 'imgs'
    poses = layout.root / layout.annotations / action / 'poses'
    for folder in (pictures, poses):
        folder.mkdir(parents=True, exist_ok=True)
    count, began, last = 0, 0.0, None
    for frame in open_source(source, fps):
        row = rows.get(frame.index)
        if row is None:
            continue
        if last is None:
            began = frame.time
        elif frame.time - last > 1.5 / RATE:
            raise ValueError(f'{path}: {frame.time - last:.3f} s between poses; at least {RATE} a second are needed')
        last = frame.time
        if frame.time - began < count / RATE - 1e-3:
            continue
        height, width = frame.image.shape[:2]
        left, top, side = (
            given['squares'][0].round().astype(int) if 'squares' in given else middle_square(height, width)
        )
        picture = grey_picture(cut_square(frame.image, left, top, side))
        cv2.imwrite(str(pictures / f'fullpic{count:04d}.jpg'), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        np.savez(
            poses / f'pose_{count:04d}.npz',
            body_pose=given['pose'][row].reshape(1, 72),
            beta=given['shape'][row][None],
            trans=given['translation'][row][None],
            joints3d=given['joints_3d'][row],
            joints2d=given['joints_2d'][row],
        )
        count += 1
    if not count:
        raise ValueError(f'{path}: none of its frames is in {source}')
    return count


def main() -> None:
    """Write all recordings of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of videos with an .npz each')
    parser.add_argument('out', type=Path, help='folder to write: data_root of the configs')
    parser.add_argument('--val', type=float, default=0.2, help='share for validation (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: %(default)s)')
    parser.add_argument('--group', metavar='PATTERN', help='what tells names that stay on the same side (a person)')
    parser.add_argument('--fps', type=float, default=RATE, help='of folders of pictures (default: %(default)s)')
    parser.add_argument('--force', action='store_true', help='write into a folder that has recordings')
    args = parser.parse_args()
    listed = args.out / 'recordings.txt'
    try:
        check_new([listed], args.force)
        sources = find_sources([str(args.folder)])
        sources = {name: path for name, path in sources.items() if not path.endswith('.npz')}
        val = draw_split({'': list(sources)}, args.val, args.seed, args.group)
        lines = []
        for number, (name, path) in enumerate(sources.items()):
            # MMHPSD is split by subject: 01 is tested, 03 trained
            action = f'subject{1 if name in val else 3:02d}_group0_time{number}'
            frames = write_recording(path, args.fps, LayoutB(args.out), action)
            lines.append(f'{action} {"val" if name in val else "train"} {name}')
            print(f'{lines[-1]}: {frames} frames of {SIZE} x {SIZE} at {RATE} a second')
        write_new({listed: ''.join(f'{line}\n' for line in lines)}, args.force)
    except (ValueError, OSError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from None
    print(f'{args.out}: {len(sources) - len(val)} recordings to train on, {len(val)} to validate')


if __name__ == '__main__':
    with plain_messages():
        main()
