"""Stands for ``moviepy.editor``, which mmaction2 and TensorBoard's ``add_video`` write videos with.

moviepy 2 has no such module, and moviepy 1 wants releases of its own dependencies that are years old. Put in place by
``import mmsvf`` where there is none; delete when mmaction2 writes videos with something that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from .video import write_video


class ImageSequenceClip:
    """Frames to be written; moviepy's class of this name is not there (see above).

    Args:
        sequence: RGB frames (H, W, 3) uint8.
        fps: Frames a second.
    """

    def __init__(self, sequence: Sequence[np.ndarray], fps: float) -> None:
        self.sequence, self.fps = list(sequence), fps

    def write_videofile(self, filename: str, **_: Any) -> None:
        """As an mp4 file; moviepy's further options are taken and ignored."""
        write_video(filename, (frame[..., ::-1] for frame in self.sequence), self.fps)

    def write_gif(self, filename: str, **_: Any) -> None:
        """As an animated GIF; moviepy's further options are taken and ignored."""
        first, *rest = (Image.fromarray(np.ascontiguousarray(frame)) for frame in self.sequence)
        first.save(filename, save_all=True, append_images=rest, duration=round(1000 / self.fps), loop=0)
