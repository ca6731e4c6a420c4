# SpikeVideoFormer, large, on ImageNet-1K with one time step: the first stage of pre-training (Table 8, App. F), with
# the recipe that takes effect in Meta-SpikeFormer's training script (D28). It used half precision: --amp
_base_ = ['_base_/svf_image_classifier.py', '_base_/imagenet.py', '_base_/runtime_mmpretrain.py']

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# 128 images on each of 8 GPUs; lr = 6e-4 * 1024 / 256
auto_scale_lr = dict(enable=False, base_batch_size=1024)
optim_wrapper = dict(
    type='OptimWrapper',
    # LAMB clips the global norm of the gradients to max_grad_norm by itself
    optimizer=dict(
        type='Lamb', lr=2.4e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.05, max_grad_norm=1.0, trust_clip=True
    ),
    # no decay of one-dimensional parameters: biases and BatchNorm
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
# at each iteration: linear from 0 (MMEngine divides by start_factor, so almost 0), then half a cosine to 1e-6
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=190, eta_min=1e-6, by_epoch=True, begin=10, end=200, convert_to_iter_based=True
    ),
]
randomness = dict(seed=0, diff_rank_seed=True)
