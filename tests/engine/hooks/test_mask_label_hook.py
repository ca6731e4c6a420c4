"""A mask with a value that is no class is named, with the file, for mmsegmentation's own data sets."""

from types import SimpleNamespace

import cv2
import pytest
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope

import mmsvf  # noqa: F401
from mmsvf.engine.hooks.mask_label_hook import MaskLabelHook

from ...datasets.test_own_lists import put_pictures


def test_values_and_files_are_named(tmp_path):
    init_default_scope('mmseg')
    put_pictures(tmp_path / 'images', tmp_path / 'masks', 3)
    mask = cv2.imread(str(tmp_path / 'masks/00001.png'), cv2.IMREAD_UNCHANGED)
    mask[40], mask[41] = 2, 7
    cv2.imwrite(str(tmp_path / 'masks/00001.png'), mask)
    dataset = DATASETS.build(
        dict(
            type='BaseSegDataset', data_root=str(tmp_path), metainfo=dict(classes=['ground', 'ball']),
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
        )
    )  # fmt: skip
    batch = pseudo_collate([dataset[i] for i in range(3)])
    runner = SimpleNamespace(model=SimpleNamespace(decode_head=SimpleNamespace(num_classes=8, ignore_index=255)))
    MaskLabelHook().before_train_iter(runner, 0, batch)
    runner.model.decode_head.num_classes = 2
    said = r'values \[2, 7\], but decode_head\.num_classes=2 \(0 to 1, 255 for none\): \S*masks/00001\.png\. Correct'
    with pytest.raises(ValueError, match=said):
        MaskLabelHook().before_train_iter(runner, 0, batch)
