# Human pose tracking on MMHPSD from grey frames, 8 steps, large (Table 3, App. H)
_base_ = ['_base_/svf_pose_estimator.py', '_base_/mmhpsd.py', '_base_/runtime_mmpose.py']

# the backbone starts from ImageNet (Table 6); from random weights: --cfg-options load_from=None
load_from = 'work_dirs/svf_imagenet_t4/epoch_20.pth'
default_hooks = dict(load_report=dict(start='ImageNet-1K weights'))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# 8 clips on each of 8 GPUs
auto_scale_lr = dict(enable=False, base_batch_size=64)
# the optimiser is not in the paper: AdamW with weight decay 0.05 (D26)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
# T_max is longer than the training, so the rate ends at 0.0495 of its start (D25)
param_scheduler = dict(type='CosineAnnealingLR', T_max=35, by_epoch=True)
