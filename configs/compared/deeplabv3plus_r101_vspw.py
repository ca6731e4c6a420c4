# Table 5, without spikes: DeepLabV3+ on ResNet-101, single frames, on the data and schedule of our row
_base_ = [
    'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
    '../_base_/vspw_frames.py',
    '../_base_/segmentation_adamw.py',
    '../_base_/runtime_mmseg.py',
]

model = dict(
    data_preprocessor=dict(size=(480, 480), test_cfg=dict(size_divisor=32)),
    pretrained='open-mmlab://resnet101_v1c',
    backbone=dict(depth=101),
    decode_head=dict(num_classes=124),
    auxiliary_head=dict(num_classes=124),
)

# the schedule of our row
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=5)
param_scheduler = dict(type='CosineAnnealingLR', T_max=80, by_epoch=True)
