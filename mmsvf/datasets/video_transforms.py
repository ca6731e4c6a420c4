"""Transforms for mmaction2's pipelines."""

from __future__ import annotations

import warnings
from typing import Any

from mmaction.datasets.transforms import SampleFrames

from mmsvf.registry import TRANSFORMS

SAID = 3  # warnings a process: a list may have thousands of short videos
_said: set[str] = set()


@TRANSFORMS.register_module()
class SampleClip(SampleFrames):
    """mmaction2's ``SampleFrames``, which says when a video is shorter than the clip asked for.

    Args:
        short: 'loop' starts the video again (what mmaction2 does, silently) and warns of the first three in a
            process; 'error' refuses it.
        **kwargs: Arguments of ``SampleFrames`` (clip_len, frame_interval, num_clips, test_mode, ...).
    """

    def __init__(self, short: str = 'loop', **kwargs: Any) -> None:
        if short not in ('loop', 'error'):
            raise ValueError(f"SampleClip short={short!r}; choose 'loop' or 'error'")
        super().__init__(**kwargs)
        self.short = short

    def transform(self, results: dict) -> dict:
        """Choose frame indices.

        Raises:
            ValueError: the video has no frames, or fewer than asked with ``short='error'``.
        """
        frames, asked = results['total_frames'], (self.clip_len - 1) * self.frame_interval + 1
        if frames < asked:
            message = (
                f'{results.get("filename", "the video")} has {frames} frames; a clip of clip_len={self.clip_len} at '
                f'frame_interval={self.frame_interval} spans {asked}'
            )
            if frames < 1 or self.short == 'error':
                raise ValueError(f'{message}. Remove it from ann_file, or set a smaller clip_len or frame_interval')
            if len(_said) < SAID and message not in _said:
                _said.add(message)
                more = '; others follow in silence' if len(_said) == SAID else ''
                warnings.warn(f"{message}: its frames repeat (short='error' refuses such videos){more}", stacklevel=1)
        return super().transform(results)
