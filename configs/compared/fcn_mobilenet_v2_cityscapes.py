# Table 4, without spikes: FCN on MobileNetV2, single frames, on the data and schedule of our row
_base_ = [
    'mmseg::_base_/models/fcn_r50-d8.py',
    '../_base_/cityscapes_frames.py',
    '../_base_/segmentation_adamw.py',
    '../_base_/runtime_mmseg.py',
]

model = dict(
    data_preprocessor=dict(size=(768, 768), test_cfg=dict(size_divisor=32)),
    pretrained='mmcls://mobilenet_v2',
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        widen_factor=1.0,
        strides=(1, 2, 2, 1, 1, 1, 1),
        dilations=(1, 1, 1, 2, 2, 4, 4),
        out_indices=(1, 2, 4, 6),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    decode_head=dict(in_channels=320),
    auxiliary_head=dict(in_channels=96),
)

# the schedule of our row (D25)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=10)
param_scheduler = dict(type='CosineAnnealingLR', T_max=400, by_epoch=True)
