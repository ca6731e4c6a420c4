"""Lists of video files for mmaction2, with clear errors."""

from __future__ import annotations

import os

from mmaction.datasets import VideoDataset

from mmsvf.registry import DATASETS


@DATASETS.register_module()
class VideoClipDataset(VideoDataset):
    """mmaction2's ``VideoDataset`` (lines ``path label``) that checks its input.

    Arguments are those of ``VideoDataset``; with ``num_classes`` the labels are checked too.

    Raises:
        FileNotFoundError: the list or the video folder is missing.
        ValueError: an empty list, a malformed line or a label out of range.
        RuntimeError: at reading, a file that cannot be decoded; the message names it.
    """

    def load_data_list(self) -> list[dict]:
        """Read and check the list."""
        folder = self.data_prefix.get('video')
        for path, option in ((self.ann_file, 'ann_file'), (folder, 'data_prefix.video')):
            if path and '://' not in path and not os.path.exists(path):
                raise FileNotFoundError(
                    f'{option}={path!r} does not exist (from {os.getcwd()}); set it in the config or with --cfg-options'
                    f' train_dataloader.dataset.{option}=..., and the same for val_dataloader and test_dataloader'
                )
        try:
            videos = super().load_data_list()
        except ValueError as error:
            raise ValueError(
                f'{self.ann_file}: {error}; each line is a video path, {self.delimiter!r} and an integer label'
            ) from error
        if not videos:
            raise ValueError(f'{self.ann_file} lists no video; each line is a video path and an integer label')
        for line, video in enumerate(videos, 1):
            labels = video['label'] if self.multi_class else [video['label']]
            top = self.num_classes
            if top is not None and not all(0 <= label < top for label in labels):
                raise ValueError(
                    f'{self.ann_file} line {line}: label {video["label"]} of {video["filename"]!r} is outside '
                    f'0 to {top - 1}; correct the line, or set num_classes of the dataset and of cls_head'
                )
        return videos

    def prepare_data(self, idx: int) -> dict:
        """Run the pipeline on a video."""
        try:
            return super().prepare_data(idx)
        except Exception as error:
            name = self.get_data_info(idx)['filename']
            raise RuntimeError(
                f'{name!r} could not be read ({type(error).__name__}: {str(error).strip()[:400]}). If the file is '
                f'broken or missing, restore it or remove its line from {self.ann_file}'
            ) from error
