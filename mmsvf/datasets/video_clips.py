"""Lists of video files for mmaction2, with clear errors."""

from __future__ import annotations

import os
import re

from mmaction.datasets import VideoDataset

from mmsvf.files.videos import check_video
from mmsvf.registry import DATASETS

from .reading import VIDEOS, read_list, reading

NUMBER = re.compile(r'[+-]?[0-9]+').fullmatch


def split_line(line: str, delimiter: str, several: bool) -> list[str]:
    """Path and label, or ``several`` labels, of a line; one part where two numbers at the end leave it open."""
    fields = line.split(delimiter)
    if several or (len(fields) > 2 and NUMBER(fields[-2])):
        return fields if several else [line]
    return line.rsplit(delimiter, 1)


@DATASETS.register_module()
class VideoClipDataset(VideoDataset):
    """mmaction2's ``VideoDataset`` (lines ``path label``), which itself checks nothing of its input.

    A line is a path, the delimiter and a label, or labels with ``multi_class``. Blank lines, a byte order mark and line
    ends of Windows do not count. A path may have the delimiter in it, but for ``multi_class``: it ends at the last one.

    Arguments are those of ``VideoDataset``; with ``num_classes`` the labels are checked too.

    Raises:
        FileNotFoundError: the list, the video folder or, at reading, a video is missing.
        ValueError: an empty list, a malformed line or a label out of range, with the number of the line; at reading, a
            file that cannot be decoded.
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
        if self.multi_class and self.num_classes is None:
            raise ValueError('multi_class=True needs num_classes, the length of a label')
        videos = []
        for number, line in read_list(self.ann_file):
            name, *labels = split_line(line, self.delimiter, self.multi_class)
            if not name or name != name.rstrip() or not labels or not all(map(NUMBER, labels)):
                raise ValueError(
                    f'{self.ann_file} line {number}: {line!r}; each line is a video path, {self.delimiter!r} and an '
                    'integer label. More than one label a video: multi_class=True'
                )
            found, top = [int(label) for label in labels], self.num_classes
            if min(found) < 0 or (top is not None and max(found) >= top):
                raise ValueError(
                    f'{self.ann_file} line {number}: label {" ".join(labels)} of {name!r} is outside 0 to '
                    f'{"the number of classes" if top is None else top - 1}; correct the line, or set num_classes of '
                    'the dataset and of cls_head'
                )
            path = name if folder is None else os.path.join(folder, name)
            videos.append(dict(filename=path, label=found if self.multi_class else found[0]))
        if not videos:
            raise ValueError(f'{self.ann_file} lists no video; each line is a video path and an integer label')
        return videos

    def prepare_data(self, idx: int) -> dict:
        """Run the pipeline on a video."""
        fix = f'if the file is broken or missing, restore it or remove its line from {self.ann_file}'
        path = self.get_data_info(idx)['filename']
        with reading(path, fix):
            try:
                return super().prepare_data(idx)
            except Exception:
                if path.lower().endswith(VIDEOS) and os.path.isfile(path):
                    check_video(path)  # says what the file is, where a decoder says what it could not do
                raise
