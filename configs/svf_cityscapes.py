# Cityscapes, stage 1: encoder and decoder on single frames, small (App. I, D17)
_base_ = [
    '_base_/svf_segmentor.py',
    '_base_/cityscapes_frames.py',
    '_base_/segmentation_adamw.py',
    '_base_/runtime_mmseg.py',
]

# the encoder starts from ImageNet (App. I); from random weights: --cfg-options load_from=None
load_from = 'work_dirs/svf_imagenet_t4_small/epoch_20.pth'
default_hooks = dict(load_report=dict(start='ImageNet-1K weights'))
model = dict(data_preprocessor=dict(size=(768, 768)))

# 2975 frames / 16 = 186 iterations an epoch, 55,800 in all
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=10)
# T_max is longer than the training, so the rate ends at 0.146 of its start (D25)
param_scheduler = dict(type='CosineAnnealingLR', T_max=400, by_epoch=True)
