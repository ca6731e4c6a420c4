# VSPW, stage 1: encoder and decoder on single frames, large (App. I, D17)
_base_ = [
    '_base_/svf_segmentor.py',
    '_base_/vspw_frames.py',
    '_base_/segmentation_adamw.py',
    '_base_/runtime_mmseg.py',
]

# the encoder starts from ImageNet (App. I); from random weights: --cfg-options load_from=None
load_from = 'work_dirs/svf_imagenet_t4/epoch_20.pth'
default_hooks = dict(load_report=dict(start='ImageNet-1K weights'))
model = dict(
    data_preprocessor=dict(size=(480, 480)),
    backbone=dict(arch='large'),
    neck=dict(in_channels=[64, 128, 256, 640], out_channels=256),
    decode_head=dict(in_channels=[256, 256, 256, 256], channels=256, num_classes=124),
)

# 526,000 iterations; see _base_/vspw_frames.py for what an epoch is
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=5)
param_scheduler = dict(type='CosineAnnealingLR', T_max=80, by_epoch=True)
