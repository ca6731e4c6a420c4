"""Transforms of pose clips: a turn about the optical axis, and packing for mmpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from mmsvf.body import MMHPSD_INTRINSICS, axis_angle_to_matrix, matrix_to_axis_angle, rotation_about_axis
from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RotateClip(BaseTransform):
    """Turns a clip about the principal point, with everything that depends on it, in closed form.

    A turn R of the camera about its axis turns the joints by R, the global orientation by R, the
    pixels about the principal point, and moves the translation t to R (J0 + t) - J0, where J0 + t is
    the pelvis. Nothing has to be estimated.

    Args:
        degrees: Turns are drawn from [-degrees, degrees].
        prob: Probability of a turn.
        intrinsics: (fx, fy, cx, cy) in pixels, fx = fy.

    Raises:
        ValueError: unequal focal lengths, for which a turn is no turn of the image.
    """

    def __init__(
        self, degrees: float = 20.0, prob: float = 1.0, intrinsics: Sequence[float] = MMHPSD_INTRINSICS
    ) -> None:
        if len(intrinsics) != 4 or intrinsics[0] != intrinsics[1]:
            raise ValueError(f'intrinsics={intrinsics}; (fx, fy, cx, cy) with fx = fy expected')
        self.degrees, self.prob, self.centre = degrees, prob, np.array(intrinsics[2:], np.float32)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if np.random.rand() >= self.prob:  # noqa: NPY002
            return results
        degrees = float(np.random.uniform(-self.degrees, self.degrees))  # noqa: NPY002
        return self.rotate(results, degrees)

    def rotate(self, results: dict[str, Any], degrees: float) -> dict[str, Any]:
        """Turn by an angle; positive from x (right) to y (down)."""
        turn = rotation_about_axis(torch.tensor(degrees, dtype=torch.float64))
        pose = torch.from_numpy(results['pose']).double()
        root = matrix_to_axis_angle(turn @ axis_angle_to_matrix(pose[:, 0]))
        results['pose'] = torch.cat([root[:, None], pose[:, 1:]], 1).numpy().astype(np.float32)
        r = turn.numpy().astype(np.float32)
        pelvis, translation = results['joints_3d'][:, 0], results['translation']
        results['translation'] = pelvis @ r.T - (pelvis - translation)
        results['joints_3d'] = results['joints_3d'] @ r.T
        results['joints_2d'] = (results['joints_2d'] - self.centre) @ r[:2, :2].T + self.centre
        # OpenCV turns counter-clockwise on the screen for positive angles; events stay 0 and 1
        matrix = cv2.getRotationMatrix2D(tuple(map(float, self.centre)), -degrees, 1.0)
        flag = cv2.INTER_NEAREST if results['modality'] == 'events' else cv2.INTER_LINEAR
        results['clip'] = np.stack([cv2.warpAffine(f, matrix, f.shape[1::-1], flags=flag) for f in results['clip']])
        return results


@TRANSFORMS.register_module()
class ResizeClip(BaseTransform):
    """Makes a clip smaller; annotations stay in pixels of 256 x 256, which the head's camera has.

    A pixel of an event frame is 1 where one of the pixels it covers is.

    Args:
        size: New height and width, at most 256.
    """

    def __init__(self, size: int) -> None:
        if not 0 < size <= SIZE:
            raise ValueError(f'size={size}; at most {SIZE} pixels')
        self.size = size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        events = results['modality'] == 'events'
        clip = results['clip'].astype(np.float32) if events else results['clip']
        clip = np.stack([cv2.resize(f, (self.size, self.size), interpolation=cv2.INTER_AREA) for f in clip])
        results['clip'] = (clip > 0).astype(np.uint8) if events else clip
        return results


@TRANSFORMS.register_module()
class PackPoseClip(BaseTransform):
    """A clip as ``inputs`` uint8 (C, T, H, W), its poses as ``gt_instance_labels``, a frame an instance."""

    LABELS = ('pose', 'shape', 'translation', 'joints_3d')

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        sample = PoseDataSample(metainfo=dict(action=results['action'], frames=results['frames']))
        labels = {name: torch.from_numpy(results[name]) for name in self.LABELS}
        labels['joints_2d'] = torch.from_numpy(results['joints_2d'] / SIZE)
        sample.gt_instance_labels = InstanceData(**labels)
        clip = torch.from_numpy(np.ascontiguousarray(results['clip'].transpose(3, 0, 1, 2)))
        return dict(inputs=clip, data_samples=sample)
