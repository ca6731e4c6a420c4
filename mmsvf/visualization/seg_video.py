"""Segmented frames of videos in mmsegmentation's visualizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.dist import master_only
from mmseg.visualization import SegLocalVisualizer

from mmsvf.registry import VISUALIZERS

from .video import VideoWriter


@VISUALIZERS.register_module()
class SegVideoVisualizer(SegLocalVisualizer):
    """mmsegmentation's visualizer for the frames of videos, as ``SegVisualizationHook`` hands them on.

    ``SegLocalVisualizer`` names a picture by its file and the iteration, and those of one video overwrite another's.
    Here a picture has the video's name, and the frame as its step: TensorBoard shows a video with a slider. The
    pictures of a video also make ``save_dir/vis_data/<video>.mp4``. Samples without ``video_id`` are named as in
    mmsegmentation, clips (T, H, W, 3) given to ``MMSegInferencer`` are drawn on their last frame.

    It also draws on pictures transposed in memory, which mmsegmentation's ``browse_dataset.py`` makes and its own
    visualizer cannot, and within a tenth of the time. As everywhere in OpenMMLab, the main process of several draws its
    own share of the samples.

    Args:
        name, save_dir: As in ``SegLocalVisualizer``.
        transforms: Transforms of the picture before the mask goes over it: with what the pipeline did to the frame, one
            sees what the network saw.
        fps: Frames a second of the mp4 files.
        **kwargs: As in ``SegLocalVisualizer``.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        save_dir: str | None = None,
        transforms: Sequence[dict[str, Any]] = (),
        fps: float = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, save_dir=save_dir, **kwargs)
        self.folder = None if save_dir is None else Path(save_dir, 'vis_data')
        self.transforms, self.fps = Compose(list(transforms)), fps
        self._video: str | None = None
        self._writer: VideoWriter | None = None

    @master_only
    def add_datasample(
        self, name: str, image: np.ndarray, data_sample: Any = None, *args: Any, step: int = 0, **kwargs: Any
    ) -> None:
        """Draw a sample on its picture (H, W, 3), or on the last of a clip (T, H, W, 3), RGB; as mmsegmentation's."""
        image = image[-1] if image.ndim == 4 else image
        path = None if data_sample is None else data_sample.get('img_path')
        image = np.ascontiguousarray(self.transforms(dict(img=image, img_path=path))['img'])
        video = None if data_sample is None else data_sample.get('video_id')
        if video is not None:
            name = f'{name.split("_")[0]}_{video}' + (f'_iter{step}' if step else '')  # the iteration of a validation
            step = data_sample.get('frame_id', 0)
            if name != self._video:
                self._end_video()
                self._video = name
        super().add_datasample(name, image, data_sample, *args, step=step, **kwargs)

    @master_only
    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Hand a picture (H, W, 3) RGB to the backends, and to its video."""
        super().add_image(name, image, step)
        if name != self._video or self.folder is None or not self._vis_backends:
            return
        if self._writer is None:
            self._writer = VideoWriter(self.folder / f'{name}.mp4', image.shape, self.fps)
        self._writer.write(image[..., ::-1])

    @master_only
    def close(self) -> None:
        """End the last video, and close the backends."""
        self._end_video()
        super().close()

    def _get_center_loc(self, mask: np.ndarray) -> np.ndarray:
        """Where the name of a class stands, (x, y); as mmsegmentation's, which sorts all pixels in Python: seconds."""
        row = (mask == 1).sum(1).argmax()
        columns = np.flatnonzero(mask[row] == 1)
        return np.array([columns[len(columns) // 2], row])

    def _end_video(self) -> None:
        if self._writer is not None:
            self._writer.release()
        self._video = self._writer = None
