"""Videos to begin with, made by the demo data scripts of ``tools/dataset_converters``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from mmsvf.apis.pose_predictor import PosePredictor
from mmsvf.apis.pose_steps import Action
from mmsvf.apis.predictor import Predictor
from mmsvf.apis.sources import Source
from mmsvf.datasets.mmhpsd import RATE
from mmsvf.visualization.drawing import enlarged

# validation videos: none of them was seen in training
SCRIPTS = {
    'moving digits': ('moving_digits.py', '--train', '0', '--val', '6'),
    'delayed match': ('delayed_match.py', '--train', '0', '--val', '6'),
    'moving scenes': ('moving_scenes.py', '--train', '0', '--val', '3', '--sequences', '0', '--frames', '48'),
    'moving body': ('moving_body.py', '--train', '0', '--test', '3', '--frames', '61', '--workers', '1'),
}
SCENES_FPS = 12.0
THUMBNAIL = 120  # pixels of the shorter side


@dataclass(frozen=True)
class Sample:
    """A video of one of the demo data sets.

    Attributes:
        name: Unique, such as 'moving-digits-1'.
        title: For people.
        data: The data set, a key of ``SCRIPTS``.
        path: A video, or a folder of pictures.
        fps: Frames a second of pictures.
    """

    name: str
    title: str
    data: str
    path: Path
    fps: float

    def open(self, predictor: Predictor) -> Source:
        """The source for a predictor; a pose predictor gets the recording, events and true joints with it."""
        if self.data == 'moving body' and isinstance(predictor, PosePredictor):
            root = str(self.path.parent.parent)
            return Action(self.path.name, predictor.modality, predictor.step, root)
        return predictor.open(self.path, self.fps)

    def thumbnail(self) -> bytes:
        """A JPEG of a frame."""
        if self.path.is_file():
            capture = cv2.VideoCapture(str(self.path))
            image = capture.read()[1]
            capture.release()
        else:
            image = cv2.imread(str(sorted(self.path.glob('*.jpg'))[0]))
        scale = min(1.0, THUMBNAIL / min(image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return cv2.imencode('.jpg', enlarged(image, THUMBNAIL))[1].tobytes()


def make_samples(scripts: Path, folder: Path) -> list[Sample]:
    """The samples in a folder; those that are not there yet are made, which takes some seconds.

    Args:
        scripts: ``tools/dataset_converters``.
        folder: Where they are kept.

    Returns:
        The samples; of a data set whose script fails, as where scikit-image is missing, none, which is said.
    """
    found: list[Sample] = []
    for data, (script, *options) in SCRIPTS.items():
        target = folder / data.replace(' ', '_')
        if not target.is_dir():
            print(f'making samples of {data} in {target}', flush=True)
            part = folder / f'.{target.name}.{os.getpid()}.part'
            shutil.rmtree(part, ignore_errors=True)
            command = [sys.executable, str(scripts / script), str(part), *options]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                shutil.rmtree(part, ignore_errors=True)
                said = run.stderr.strip().splitlines()[-1:] or ['no message']
                print(f'no samples of {data}: {said[0]} (pip install mmsvf[app] has what the scripts need)')
                continue
            part.rename(target)
        found += _samples_of(data, target)
    return found


def _samples_of(data: str, folder: Path) -> Iterator[Sample]:
    fps = SCENES_FPS
    if data in ('moving digits', 'delayed match'):
        paths = sorted((folder / 'val').iterdir())
    elif data == 'moving scenes':
        paths = sorted((folder / 'vspw' / 'data').glob('*/origin'))
    else:
        paths, fps = sorted((folder / 'full_pic_256').iterdir()), float(RATE)
    for number, path in enumerate(paths, 1):
        yield Sample(f'{data.replace(" ", "-")}-{number}', f'{data} {number}', data, path, fps)
