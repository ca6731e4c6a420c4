# 2 samples on each of 8 GPUs; stage 2 lowers the rate
auto_scale_lr = dict(enable=False, base_batch_size=16)
# the optimiser is not in the paper: AdamW with the weight decay of the same group's image segmentation (D26)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.005),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
