"""One continuous track of a body's pose through a video of any length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from torch import Tensor

from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.body import matrix_to_axis_angle, nearest_rotation, project
from mmsvf.datasets.event_transforms import read_events
from mmsvf.datasets.events import bin_events
from mmsvf.datasets.grey_pictures import cut_square, grey_picture, middle_square
from mmsvf.datasets.mmhpsd import ACTION, RATE
from mmsvf.datasets.mmhpsd_layouts import open_layout, read_pictures
from mmsvf.datasets.reading import PICTURES, natural, read_image, reading


@dataclass
class Clip:
    """What is tracked: pictures uint8 (T, 256, 256, 3), the seconds between them, and the truth (T, 24, 3) if known."""

    pictures: np.ndarray
    step: float
    truth: np.ndarray | None = None


def read_clip(source: str, modality: str, step: float, data_root: str | None = None, fps: float = RATE) -> Clip:
    """Read a clip for tracking, a picture every ``step`` seconds.

    Frames become grey and are cropped to the square in their middle; the camera is MMHPSD's.

    Args:
        source: A video; a folder of pictures in the order of the numbers in their names; a .npz of events with x, y
            (of 256 x 256 pixels) and t (microseconds); or the name of an action of ``data_root``.
        modality: 'frames' or 'events', what the model was trained with.
        step: Seconds between time steps.
        data_root: Folder of MMHPSD, for the name of an action.
        fps: Pictures a second, of a folder.

    Raises:
        FileNotFoundError: no such file or action.
        ValueError: the source is of the other modality, unreadable, or shorter than a step.
    """
    path = Path(source)
    if not path.exists():
        if not ACTION.fullmatch(source) or data_root is None:
            raise FileNotFoundError(
                f'{source} does not exist; give a video, a folder of pictures, a .npz of events, or an action of the '
                'data set (subjectNN_groupG_timeK)'
            )
        return _read_action(source, modality, step, data_root)
    if path.suffix == '.npz':
        if modality != 'events':
            raise ValueError(f'{source} has events, and the model takes frames; take a model trained with events')
        return Clip(_read_events(path, step), step)
    if modality != 'frames':
        raise ValueError(f'{source} is no .npz, and the model takes events: give a .npz with x, y and t')
    pictures = _read_folder(path, step, fps) if path.is_dir() else _read_video(path, step)
    return Clip(np.stack(pictures), step)


def _read_action(action: str, modality: str, step: float, data_root: str) -> Clip:
    layout = open_layout(data_root, modality)
    folder = Path(data_root) / layout.annotations
    if not (folder / action).is_dir():
        raise FileNotFoundError(f'{folder} has no action {action}')
    indices, gap = layout.indices(action), max(1, round(RATE * step))
    first = indices[0] + (gap if modality == 'events' else 0)
    frames = range(first, indices[-1] + 1, gap)
    missing = sorted(set(range(indices[0], indices[-1] + 1)) - set(indices))
    if missing:
        raise ValueError(f'{action} is annotated with gaps (frame {missing[0]} is missing); a track has none')
    truth = np.stack([layout.pose(action, i)['joints_3d'] for i in frames])
    return Clip(read_pictures(layout, action, frames, gap, modality), gap / RATE, truth)


def _read_events(path: Path, step: float) -> np.ndarray:
    x, y, t = read_events(str(path)).values()
    begin, length = int(t.min()), int(np.ptp(t))
    steps = int(length / 1e6 / step)
    if steps < 1:
        raise ValueError(f'{path} has events of {length / 1e6} s; at least a step of {step} s expected')
    span = (begin, begin + round(steps * step * 1e6))
    with reading(path):
        return bin_events(x, y, t, steps, (SIZE, SIZE), span).transpose(0, 2, 3, 1)


def _square(image: np.ndarray) -> np.ndarray:
    return grey_picture(cut_square(image, *middle_square(*image.shape[:2])))


def _read_folder(path: Path, step: float, fps: float) -> list[np.ndarray]:
    files = sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=lambda p: (natural(p.name), p.name))
    if not files:
        raise ValueError(f'{path} has no pictures ({", ".join(PICTURES)})')
    pictures = []
    for k in range(int((len(files) - 1) / fps / step) + 1):
        pictures.append(_square(read_image(files[round(k * step * fps)], cv2.IMREAD_GRAYSCALE)))
    return pictures


def _read_video(path: Path, step: float) -> list[np.ndarray]:
    with reading(path, 'give a video'):
        video = cv2.VideoCapture(str(path))
    fps = video.get(cv2.CAP_PROP_FPS)
    pictures: list[np.ndarray] = []
    number = 0
    while fps > 0:
        good, image = video.read()
        if not good:
            break
        if number == round(len(pictures) * step * fps):
            pictures.append(_square(image))
        number += 1
    video.release()
    if not pictures:
        raise ValueError(f'{path} cannot be read as a video; give a video, a folder of pictures or a .npz of events')
    return pictures


def windows(steps: int, window: int, overlap: float) -> list[range]:
    """Windows that cover all steps, the last one ending with them.

    Raises:
        ValueError: no step in a window, or an overlap of all of it.
    """
    if window < 1 or not 0 <= overlap < 1:
        raise ValueError(f'window={window}, overlap={overlap}; at least 1 step, and an overlap from 0 to below 1')
    window = min(window, steps)
    stride = max(1, round(window * (1 - overlap)))
    starts = [*range(0, steps - window, stride), steps - window]
    return [range(start, start + window) for start in starts]


@torch.no_grad()
def track_pose(
    model: Any,
    pictures: np.ndarray,
    window: int,
    overlap: float = 0.5,
    modality: str = 'frames',
    pipeline: Sequence[dict] = (),
) -> dict[str, np.ndarray]:
    """Track a body: overlapping windows of time steps, blended into one.

    A step that several windows cover takes their weighted mean, the weight growing from a window's
    ends to its middle: rotations by their chordal mean, so that the result is a pose again. The joints
    are those of the body in that pose.

    Args:
        model: :class:`mmsvf.models.VideoPoseEstimator` with an :class:`SMPLHead`.
        pictures: uint8 (T, 256, 256, 3), of frames or events.
        window: Time steps of a window, as trained.
        overlap: Share of a window that the next one sees again.
        modality: 'frames' or 'events', what the pictures are.
        pipeline: Transforms of the pictures, such as ``[dict(type='mmsvf.ResizeClip', size=64)]``.

    Returns:
        Arrays by name, in metres, radians and pixels of 256 x 256; the camera looks along z, x is
        right and y down: joints_3d (T, 24, 3), translation (T, 3), joints_2d (T, 24, 2), pose
        (T, 24, 3) as axis-angle, shape (T, 10).
    """
    steps, head = len(pictures), model.head
    device = next(model.parameters()).device
    clip = Compose(list(pipeline))(dict(img=pictures, modality=modality))['img']
    sums: dict[str, Tensor] = {}
    total = torch.zeros(steps, device=device)
    model.eval()
    for span in windows(steps, window, overlap):
        inputs = torch.from_numpy(clip[span.start : span.stop]).permute(3, 0, 1, 2)
        inputs = model.data_preprocessor(dict(inputs=[inputs.contiguous()]))['inputs']
        output = head(model.extract_feat(inputs))
        ramp = torch.arange(1, len(span) + 1, device=device)
        weight = torch.minimum(ramp, ramp.flip(0)).float()
        total[span.start : span.stop] += weight
        for name in ('pose', 'shape', 'translation'):
            value = output[name][0]
            kept = sums.setdefault(name, torch.zeros(steps, *value.shape[1:], device=device))
            kept[span.start : span.stop] += value * weight.view(-1, *[1] * (value.dim() - 1))
    pose = nearest_rotation(sums['pose'])
    shape, translation = (sums[name] / total[:, None] for name in ('shape', 'translation'))
    joints = head.body(pose, shape, translation).joints
    result = dict(
        joints_3d=joints,
        translation=translation,
        joints_2d=project(joints, head.intrinsics),
        pose=matrix_to_axis_angle(pose),
        shape=shape,
    )
    return {name: value.cpu().numpy() for name, value in result.items()}
