"""Video segmentation data sets for mmsegmentation: a labelled frame and the earlier frames of its clip.

To mmsegmentation a sample is the labelled frame (``img_path``, ``seg_map_path``), on which its own transforms work as
on any image; ``clip_paths`` has the whole clip, from the oldest frame to the labelled one, for
:class:`mmsvf.datasets.segmentation_transforms.LoadEarlierFrames`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from mmseg.datasets import BaseSegDataset

from .reading import MASKS, check_image, reading


def check_offsets(offsets: Sequence[int]) -> tuple[int, ...]:
    """Earlier frames of a clip, relative to the labelled one; () for images.

    Raises:
        ValueError: frames that are not earlier, or not in the order of time.
    """
    if any(offset >= 0 for offset in offsets) or list(offsets) != sorted(set(offsets)):
        raise ValueError(
            f'offsets={tuple(offsets)}; frames before the labelled one, oldest first, such as (-9, -6, -3)'
        )
    return tuple(offsets)


def clip_indices(target: int, offsets: Sequence[int]) -> list[int]:
    """Frames of the clip of a target, oldest first; near the start of a video they move together.

    From ``-offsets[0]`` on they are the offsets'. Before that, from ``len(offsets)`` on, they are
    spread evenly over what there is; the first frames stand alone (VSPW's rule in CFFM).
    """
    if not offsets or target < len(offsets):
        return [target]
    if target >= -offsets[0]:
        return [target + offset for offset in offsets] + [target]
    return [ceil(k * target / len(offsets)) for k in range(len(offsets))] + [target]


def without_masks(pipeline: Sequence[Any]) -> list[Any]:
    """Configs of a pipeline's transforms but those that load a mask, also inside others, as in ``TestTimeAug``."""
    kept: list[Any] = []
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            step = without_masks(step)
        elif isinstance(step, dict) and 'transforms' in step:
            step = {**step, 'transforms': without_masks(step['transforms'])}
        elif isinstance(step, dict) and str(step.get('type')).endswith('LoadAnnotations'):
            continue
        if step != []:
            kept.append(step)
    return kept


def run_pipeline(dataset: BaseSegDataset, info: dict[str, Any]) -> Any:
    """Look at the files of a sample, run the data set's pipeline on it, and compare the mask with frame and classes.

    mmsegmentation compares nothing: a label that is no class stops a training on a GPU without a file's name.

    Args:
        dataset: The data set.
        info: The sample, with ``clip_paths`` and ``seg_map_path``.

    Returns:
        What the pipeline makes of it.

    Raises:
        UnreadableError: a file that is damaged, a mask of another size than its frame's, a label that is no class.
    """
    for path in info['clip_paths']:
        check_image(path)
    mask = info['seg_map_path']
    size, classes = check_image(mask, MASKS), len(dataset.metainfo['classes'])
    with reading(info['img_path']):
        packed = dataset.pipeline(info)
    samples = packed.get('data_samples', []) if isinstance(packed, dict) else []
    for sample in samples if isinstance(samples, list) else [samples]:  # a list in test-time augmentation
        if 'gt_sem_seg' not in sample:
            continue  # a pipeline without masks
        with reading(mask, 'correct the mask, or set metainfo.classes of the data set'):
            frame = tuple(sample.get('ori_shape', size))
            if size != frame:
                raise ValueError(f'{size[0]} x {size[1]} pixels, its frame {info["img_path"]} {frame[0]} x {frame[1]}')
            labels = sample.gt_sem_seg.data
            wrong = labels[(labels >= classes) & (labels != dataset.ignore_index)]
            if len(wrong):
                stored = ' + 1' if dataset.reduce_zero_label else ''
                raise ValueError(f'label {int(wrong[0])}{stored}, but there are {classes} classes')
    return packed
