"""Segmented frames of videos in mmsegmentation's visualizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import Compose
from mmengine.dist import master_only
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmsvf.registry import VISUALIZERS

from . import drawing
from .video import VideoWriter


@VISUALIZERS.register_module()
class SegVideoVisualizer(SegLocalVisualizer):
    """mmsegmentation's visualizer for the frames of videos, as ``SegVisualizationHook`` hands them on.

    ``SegLocalVisualizer`` names a picture by its file and the iteration, and those of one video overwrite another's.
    Here a picture has the video's name, and the frame as its step: TensorBoard shows a video with a slider. The
    pictures of a video also make ``save_dir/vis_data/<video>.mp4``. Samples without ``video_id`` are named as in
    mmsegmentation, clips (T, H, W, 3) given to ``MMSegInferencer`` are drawn on their last frame.

    Small frames are enlarged, truth and prediction stand side by side under their names, and the classes in a legend
    with their shares of the prediction: ``SegLocalVisualizer`` writes them into the picture, where those of a small one
    cannot be read. As everywhere in OpenMMLab, the main process of several draws its own share of the samples.

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
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool | None = True,
    ) -> None:
        """Draw a sample on its picture (H, W, 3), or on the last of a clip (T, H, W, 3), RGB; as mmsegmentation's.

        Without ``with_labels`` there are no words and no legend, and the picture keeps its size.
        """
        image = image[-1] if image.ndim == 4 else image
        data_sample = SegDataSample() if data_sample is None else data_sample
        image = np.ascontiguousarray(self.transforms(dict(img=image, img_path=data_sample.get('img_path')))['img'])
        wanted = dict(truth=draw_gt and 'gt_sem_seg', prediction=draw_pred and 'pred_sem_seg')
        masks = {
            title: np.asarray(data_sample.get(key).cpu().data)[0]
            for title, key in wanted.items()
            if key and key in data_sample
        }
        drawn = self._draw(image[..., ::-1], masks, bool(with_labels))[..., ::-1]
        self.set_image(drawn)
        video = data_sample.get('video_id')
        if video is not None:
            name = f'{name.split("_")[0]}_{video}' + (f'_iter{step}' if step else '')  # the iteration of a validation
            step = data_sample.get('frame_id', 0)
            if name != self._video:
                self._end_video()
                self._video = name
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            mmcv.imwrite(drawn[..., ::-1], out_file)

    def _draw(self, image: np.ndarray, masks: dict[str, np.ndarray], with_legend: bool) -> np.ndarray:
        """The BGR picture under each of the masks (H, W), side by side, and the legend."""
        classes, palette = (self.dataset_meta[key] for key in ('classes', 'palette'))
        frame = drawing.enlarged(image) if with_legend else image
        return drawing.segmented(frame, masks, classes, palette, self.alpha, with_legend)

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

    def _end_video(self) -> None:
        if self._writer is not None:
            self._writer.release()
        self._video = self._writer = None
