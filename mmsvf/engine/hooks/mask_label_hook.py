"""A mask with a value that is no class is named, before the loss meets it."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from mmsvf.engine.sharded import unwrapped
from mmsvf.registry import HOOKS


@HOOKS.register_module()
class MaskLabelHook(Hook):
    """Compares the masks of each batch with the classes of mmsegmentation's head, while they are on the CPU.

    It is for data sets of mmsegmentation's, such as ``BaseSegDataset``; ours look themselves. The loss says an index
    alone, and on a GPU that an assertion on the device failed.

    Raises:
        ValueError: values that are neither classes nor void; the message has them and the files of the masks.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the masks of a batch."""
        head = getattr(unwrapped(runner.model), 'decode_head', None)
        head = head[-1] if isinstance(head, torch.nn.ModuleList) else head  # of a cascade
        count, void = getattr(head, 'num_classes', 0), getattr(head, 'ignore_index', 255)
        samples = data_batch.get('data_samples') if count and isinstance(data_batch, dict) else None
        wrong: dict[str, list[int]] = {}
        for sample in samples or []:
            if 'gt_sem_seg' in sample:
                mask = sample.gt_sem_seg.data
                other = mask[((mask < 0) | (mask >= count)) & (mask != void)]
                if len(other):
                    wrong[str(sample.get('seg_map_path'))] = other.unique().tolist()
        if wrong:
            values = sorted(set().union(*wrong.values()))
            raise ValueError(
                f'masks, as loaded, have the values {values}, but decode_head.num_classes={count} (0 to {count - 1}, '
                f'{void} for none): {", ".join(wrong)}. Correct the masks, or num_classes and the names of the '
                'classes; where 0 is none and classes begin at 1: reduce_zero_label=True of the data set'
            )
