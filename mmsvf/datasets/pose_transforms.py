"""Transforms of pose clips: a turn about the optical axis, the size of the network's input, and packing for mmpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import PackPoseInputs

from mmsvf.body import MMHPSD_INTRINSICS, axis_angle_to_matrix, matrix_to_axis_angle, rotation_about_axis
from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.registry import TRANSFORMS

from .grey_pictures import cut_square, grey_picture, middle_square


@TRANSFORMS.register_module()
class RotateClip(BaseTransform):
    """Turns a clip about the principal point, with everything that depends on it, in closed form.

    A turn R of the camera about its axis turns the joints by R, the global orientation by R, the
    pixels about the principal point, and moves the translation t to R (J0 + t) - J0, where J0 + t is
    the pelvis. Nothing has to be estimated. mmpose's ``RandomBBoxTransform`` turns key points of the image alone.

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
        pelvis, translation = results['lifting_target'][:, 0], results['translation']
        results['translation'] = pelvis @ r.T - (pelvis - translation)
        results['lifting_target'] = results['lifting_target'] @ r.T
        results['keypoints'] = (results['keypoints'] - self.centre) @ r[:2, :2].T + self.centre
        # OpenCV turns counter-clockwise on the screen for positive angles; events stay 0 and 1
        matrix = cv2.getRotationMatrix2D(tuple(map(float, self.centre)), -degrees, 1.0)
        flag = cv2.INTER_NEAREST if results['modality'] == 'events' else cv2.INTER_LINEAR
        results['img'] = np.stack([cv2.warpAffine(f, matrix, f.shape[1::-1], flags=flag) for f in results['img']])
        return results


@TRANSFORMS.register_module()
class ResizeClip(BaseTransform):
    """A clip, or a picture, as large as the network's input; annotations stay in the head's pixels of 256 x 256.

    mmpose's ``TopdownAffine`` interpolates, which neither events nor a smaller picture should be: a pixel of an event
    frame is 1 where one of the pixels it covers is, and a pixel of a frame is the mean of those it covers.

    What mmpose's inference hands over (``inference_topdown``, ``MMPoseInferencer``) is no clip of the data set: a
    picture (H, W, 3) or a clip (T, H, W, 3) of any size, in BGR, becomes grey, and of it the square in its middle is
    seen, as by ``tools/track_pose.py``, or the square around the ``bbox`` that a caller gives. Binary pictures are
    taken for event frames.

    Args:
        size: New height and width, at most 256.

    Raises:
        ValueError: another size; or what is handed over is neither a picture nor a clip.
    """

    def __init__(self, size: int = SIZE) -> None:
        if not 0 < size <= SIZE:
            raise ValueError(f'size={size}; at most {SIZE} pixels')
        self.size = size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        if image.ndim not in (3, 4) or image.shape[-1] != 3 or not image.size:
            raise ValueError(f'img of shape {image.shape}; a picture (H, W, 3) or a clip (T, H, W, 3) expected')
        clip = image if image.ndim == 4 else image[None]
        outside = 'modality' not in results
        events = clip.max() <= 1 if outside else results['modality'] == 'events'
        if outside:
            left, top, side = square_of(image.shape, results.get('bbox'))
            if image.ndim == 4 and 'bbox' in results:  # a box for each frame
                results.update({k: np.repeat(results[k], len(clip), 0) for k in ('bbox', 'bbox_score') if k in results})
            clip = np.stack([cut_square(frame, left, top, side) for frame in clip])
            if not events:
                clip = np.stack([grey_picture(frame) for frame in clip])
            results.update(ori_shape=image.shape[-3:-1], input_size=(SIZE, SIZE))
            results.update(input_center=np.array([left, top]) + side / 2, input_scale=np.full(2, float(side)))
        clip = clip.astype(np.float32) if events else clip
        clip = np.stack([cv2.resize(f, (self.size, self.size), interpolation=cv2.INTER_AREA) for f in clip])
        clip = (clip > 0).astype(np.uint8) if events else clip
        results.update(img=clip if image.ndim == 4 else clip[0], img_shape=(self.size, self.size))
        return results


def square_of(shape: Sequence[int], bbox: np.ndarray | None) -> tuple[int, int, int]:
    """Left, top and side of what is seen of a picture (H, W, 3) or a clip (T, H, W, 3): the box (1, 4) or the middle.

    A box that is the whole picture means none; mmpose takes a clip's (T, H) for height and width of a picture.

    Raises:
        ValueError: no box, or one without an area.
    """
    height, width = shape[-3:-1]
    if bbox is not None and not np.array_equal(bbox[0], [0, 0, *shape[1::-1]]):
        box = np.ravel(bbox[0]).astype(float)
        if box.size != 4 or not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
            raise ValueError(
                f'bbox={box.tolist()}; left, top, right and bottom of a box in pixels, such as [0, 0, 64, 64]'
            )
        x, y, right, bottom = map(float, box)
        side = max(1, round(max(right - x, bottom - y)))
        return round((x + right - side) / 2), round((y + bottom - side) / 2), side
    return middle_square(height, width)


@TRANSFORMS.register_module()
class PackPoseClip(PackPoseInputs):
    """mmpose's packer for clips, which its own packs as TCHW and without SMPL's pose: a frame is an instance.

    ``img`` (T, H, W, 3) becomes ``inputs`` uint8 (C, T, H, W), a picture (H, W, 3) as in mmpose (C, H, W).
    ``gt_instances`` have mmpose's ``keypoints`` (T, 24, 2) in pixels and ``lifting_target`` (T, 24, 3) in metres, each
    with its visibility, ``bboxes`` and ``bbox_scores``; ``gt_instance_labels``, tensors for losses and our metric, have
    ``pose``, ``shape``, ``translation``, ``joints_3d`` in metres and ``joints_2d`` as shares of the image's side.

    Args:
        meta_keys: As in ``PackPoseInputs``.
        pack_transformed: As mmpose's ``browse_dataset.py`` sets it: ``inputs`` is a picture of all frames side by side,
            with ``transformed_keypoints`` in its pixels.
    """

    LABELS = ('pose', 'shape', 'translation', 'joints_3d', 'joints_2d')
    META = ('img_path', 'target_img_path', 'ori_shape', 'img_shape', 'input_size', 'input_center', 'input_scale')
    instance_mapping_table: ClassVar = dict(
        bbox='bboxes',
        bbox_score='bbox_scores',
        keypoints='keypoints',
        keypoints_visible='keypoints_visible',
        lifting_target='lifting_target',
        lifting_target_visible='lifting_target_visible',
    )
    label_mapping_table: ClassVar = dict(zip(LABELS, LABELS))

    def __init__(
        self, meta_keys: Sequence[str] = (*META, 'action', 'frames', 'modality'), pack_transformed: bool = False
    ) -> None:
        super().__init__(meta_keys, pack_transformed)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results = dict(results)
        if 'keypoints' in results:
            results.update(joints_3d=results['lifting_target'], joints_2d=results['keypoints'] / SIZE)
        clip = results['img']
        if clip.ndim == 3:
            return super().transform(results)
        if self.pack_transformed:
            scale, width = clip.shape[2] / SIZE, clip.shape[2]
            shift = np.stack([width * np.arange(len(clip)), np.zeros(len(clip))], 1)
            results['transformed_keypoints'] = results['keypoints'] * scale + shift[:, None]
            results['img'] = np.hstack(clip * 255 if results['modality'] == 'events' else clip)
            return super().transform(results)
        results['img'] = list(clip)
        packed = super().transform(results)
        return {**packed, 'inputs': packed['inputs'].transpose(0, 1).contiguous()}
