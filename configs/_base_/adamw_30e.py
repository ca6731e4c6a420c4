# 30 epochs of AdamW, lr 6e-4 for the head and 6e-5 for the backbone, cosine with T_max 35 (App. G)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    # weight decay and betas are not in the paper: Video Swin's
    optimizer=dict(type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
# T_max is longer than the training, so the rate ends at 0.0495 of its start (D25); the paper has no warm-up
param_scheduler = dict(type='CosineAnnealingLR', T_max=35, by_epoch=True)
auto_scale_lr = dict(enable=False, base_batch_size=32)
