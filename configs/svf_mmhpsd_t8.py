# Human pose tracking on MMHPSD from grey frames, 8 steps, large (Table 3, App. H). The backbone starts from ImageNet:
# --cfg-options load_from=CHECKPOINT of svf_imagenet_t4.py
_base_ = ['_base_/svf_pose_estimator.py', '_base_/mmhpsd.py', '_base_/runtime_mmpose.py']

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
