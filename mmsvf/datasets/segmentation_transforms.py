"""Transforms of clips for mmsegmentation's pipelines: a clip is an image of 3 T channels there.

The labelled frame comes first and the others go back in time, so that resizing, crops and flips treat all frames alike,
and what looks at three channels sees the labelled frame. :class:`ClipSegDataPreProcessor` makes BCTHW of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmseg.datasets.transforms import PhotoMetricDistortion

from mmsvf.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadEarlierFrames(BaseTransform):
    """Puts the earlier frames of a clip behind the labelled one: ``img`` (H, W, 3) becomes (H, W, 3 T).

    It follows mmsegmentation's ``LoadImageFromFile``, which loads one picture. (mmcv's ``TransformBroadcaster``, which
    loads several, gives each its own draw of transforms such as ``PhotoMetricDistortion``, and leaves the mask out.)

    A picture without ``clip_paths``, as ``mmseg.apis.inference_model`` gives one, stands alone, as the first frames of
    a video do. That function may also be given a clip, as an array (T, H, W, 3) from the oldest frame to the last.

    Required keys: img, clip_paths (oldest first, the labelled frame last) if it is a clip.

    Args:
        **kwargs: As in ``LoadImageFromFile``.

    Raises:
        ValueError: frames of a clip have different sizes, or its last is not the labelled one.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.load = LoadImageFromFile(**kwargs)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``img`` of all frames, channels side by side, the labelled frame first."""
        image = results['img']
        if image.ndim == 4:
            frames = list(image[::-1])
            results['img_shape'] = results['ori_shape'] = frames[0].shape[:2]
        else:
            *earlier, last = results.get('clip_paths') or [results['img_path']]
            if last != results['img_path']:
                raise ValueError(f'clip_paths ends with {last!r}, not with the labelled frame {results["img_path"]!r}')
            frames = [image, *(self.load(dict(img_path=path))['img'] for path in reversed(earlier))]
        if len({frame.shape for frame in frames}) > 1:
            raise ValueError(f'frames of {results["img_path"]} have sizes {[frame.shape[:2] for frame in frames]}')
        results['img'] = np.concatenate(frames, -1)
        return results


@TRANSFORMS.register_module()
class ClipPhotoMetricDistortion(PhotoMetricDistortion):
    """mmsegmentation's ``PhotoMetricDistortion`` of clips, which themselves have too many channels for its colours.

    It treats each pixel by itself: side by side, all frames see the same draw.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As ``PhotoMetricDistortion.transform``, the same for all frames of ``img``."""
        shape = results['img'].shape
        results['img'] = np.ascontiguousarray(results['img']).reshape(shape[0], -1, 3)
        results = super().transform(results)
        results['img'] = results['img'].reshape(shape)
        return results


@TRANSFORMS.register_module()
class DegradeLastFrame(BaseTransform):
    """Spoils the labelled frame of a clip: what a memory of earlier frames is good for.

    mmsegmentation's ``RandomCutOut`` would spoil all frames, elsewhere in each epoch's test, and by less at the border.

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
        """Spoils the first three channels of ``img``, which are the labelled frame."""
        frame = results['img'][..., :3].astype(np.float32)
        if self.seed is None:
            rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        else:
            rng = np.random.default_rng([self.seed, *(results.get('img_path') or '').encode()[-40:]])
        if self.kind == 'noise':
            frame += rng.normal(0, self.strength, frame.shape)
        else:
            height, width = (round(self.strength * side) for side in frame.shape[:2])
            top, left = (int(rng.integers(0, side - part + 1)) for side, part in zip(frame.shape, (height, width)))
            frame[top : top + height, left : left + width] = 128
        results['img'] = np.concatenate([frame.clip(0, 255).astype(np.uint8), results['img'][..., 3:]], -1)
        return results
