"""Image transforms of mmsegmentation on all frames of a clip, with the same random parameters."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmcv.transforms.utils import cache_random_params
from mmseg.datasets.transforms import PackSegInputs

from mmsvf.registry import TRANSFORMS

from .reading import reading


@contextmanager
def rewound() -> Iterator[Callable[[], None]]:
    """Gives a function that sets the random generators back to where they were."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002

    def rewind() -> None:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])

    yield rewind


def check_mask(results: dict[str, Any], ignore_index: int = 255) -> None:
    """Compare a mask as loaded with its frame and with the classes.

    Raises:
        ValueError: another size than the frame's, or a label that is no class.
    """
    mask, size, classes = results['gt_seg_map'], tuple(results['ori_shape'][:2]), results.get('num_classes')
    with reading(results['seg_map_path'], 'correct the mask, or set metainfo.classes of the data set'):
        if mask.shape != size:
            found = ' x '.join(map(str, mask.shape))
            raise ValueError(f'{found} pixels, its frame {results["img_path"]} {size[0]} x {size[1]}')
        if classes is not None:
            labels = np.unique(mask)
            wrong = labels[(labels >= classes) & (labels != ignore_index)]
            if len(wrong):
                stored = ' + 1' if results['reduce_zero_label'] else ''
                raise ValueError(f'label {int(wrong[0])}{stored}, but there are {classes} classes')


@TRANSFORMS.register_module()
class ClipTransforms(BaseTransform):
    """Applies image transforms to each frame of ``clip_paths``, the same draw to all of them.

    The labelled frame goes first, with its mask, so that a draw that depends on the mask (a crop
    with ``cat_max_ratio``) is made there; each other frame sees the same draw, by the cached
    parameters of the transform and by the same random numbers.

    Required keys: img_path, clip_paths (oldest first, the labelled frame last). Added: ``img`` and
    whatever the transforms add, of the labelled frame, and ``clip``, the list of all images.

    Args:
        transforms: Transforms of images, loading included.

    Raises:
        ValueError: frames of a clip have different sizes, or the mask does not fit (:func:`check_mask`).
    """

    def __init__(self, transforms: Sequence[dict[str, Any]]) -> None:
        self.transforms = Compose(list(transforms)).transforms

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        *earlier, last = results['clip_paths']
        if last != results['img_path']:
            raise ValueError(f'clip_paths ends with {last!r}, not with the labelled frame {results["img_path"]!r}')
        others: list[Any] = [dict(img_path=path, seg_fields=[]) for path in earlier]
        key: Any = dict(results)
        for transform in self.transforms:
            with cache_random_params(transform), rewound() as rewind:
                key = transform(key)
                if 'Annotation' in type(transform).__name__:
                    check_mask(key)
                    continue  # the other frames have no mask
                for i, other in enumerate(others):
                    rewind()
                    others[i] = transform(other)
        key['clip'] = [*(other['img'] for other in others), key['img']]
        if len({image.shape for image in key['clip']}) > 1:
            raise ValueError(f'frames of {results["img_path"]} have sizes {[i.shape[:2] for i in key["clip"]]}')
        return key


@TRANSFORMS.register_module()
class DegradeLastFrame(BaseTransform):
    """Spoils the last frame of ``clip`` (and ``img``): what a memory of earlier frames is good for.

    Args:
        kind: 'noise' adds Gaussian noise, 'occlusion' covers part of the frame with grey.
        strength: Standard deviation of the noise in grey levels, or the covered share of height
            and of width.
        seed: With a number the same frame is spoilt in the same way each time (testing); None
            draws anew (training).

    Raises:
        ValueError: an unknown kind or a strength out of range.
    """

    def __init__(self, kind: str = 'noise', strength: float = 80.0, seed: int | None = None) -> None:
        if kind not in ('noise', 'occlusion'):
            raise ValueError(f"kind={kind!r}; choose 'noise' or 'occlusion'")
        if strength <= 0 or (kind == 'occlusion' and strength > 1):
            raise ValueError(f'strength={strength}: grey levels above 0, or a share of the side up to 1')
        self.kind, self.strength, self.seed = kind, strength, seed

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img'].astype(np.float32)
        if self.seed is None:
            rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        else:
            rng = np.random.default_rng([self.seed, *results['img_path'].encode()[-40:]])
        if self.kind == 'noise':
            image += rng.normal(0, self.strength, image.shape)
        else:
            height, width = (round(self.strength * side) for side in image.shape[:2])
            top, left = (int(rng.integers(0, side - part + 1)) for side, part in zip(image.shape, (height, width)))
            image[top : top + height, left : left + width] = 128
        results['img'] = image.clip(0, 255).astype(np.uint8)
        if 'clip' in results:
            results['clip'] = [*results['clip'][:-1], results['img']]
        return results


@TRANSFORMS.register_module()
class PackClipSegInputs(PackSegInputs):
    """mmsegmentation's ``PackSegInputs`` with a clip (C, T, H, W) as input; a clip of one frame is an image (C, H, W).

    The names of video and frame join the meta data.
    """

    META = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip', 'flip_direction')

    def __init__(self, meta_keys: Sequence[str] = (*META, 'reduce_zero_label', 'video_id', 'frame_id')) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        packed = super().transform(results)
        if len(results.get('clip', ())) > 1:
            clip = np.ascontiguousarray(np.stack(results['clip']).transpose(3, 0, 1, 2))
            packed['inputs'] = torch.from_numpy(clip)
        return packed
