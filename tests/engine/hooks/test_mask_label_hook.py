"""A mask with a value that is no class is named, with the file, for mmsegmentation's own data sets."""

from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

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


@pytest.mark.parametrize('value', [-1, 256, 300])
def test_values_that_no_byte_has(value):
    """Of a loader of one's own; as bytes these are void, class 0 and class 44."""
    mask = torch.tensor([[[0, 5, 255, value]]])
    sample = SegDataSample(metainfo=dict(seg_map_path='a.tif'), gt_sem_seg=PixelData(data=mask))
    runner = SimpleNamespace(model=SimpleNamespace(decode_head=SimpleNamespace(num_classes=60, ignore_index=255)))
    with pytest.raises(ValueError, match=rf'values \[{value}\], but .* a\.tif'):
        MaskLabelHook().before_train_iter(runner, 0, dict(data_samples=[sample]))
    runner.model.decode_head.ignore_index = value
    sample.gt_sem_seg.data[mask == 255] = 0
    MaskLabelHook().before_train_iter(runner, 0, dict(data_samples=[sample]))
