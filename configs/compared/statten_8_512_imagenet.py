# STAtten (CVPR 2025), 8-512, 4 time steps in blocks of 2 (scale 1/14: the height of the features), with its own recipe
_base_ = ['../svf_imagenet_t1.py']

# rand-m5, scale 0.2 to 1, mixup 0.2 with probability 0.6, cutmix 1, smoothing 0.1; crop 0.95 of a side in testing
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=5,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=236, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
model = dict(
    backbone=dict(_delete_=True, type='mmsvf.STAtten', arch='8-512', time_steps=4, keep_time=True, output='tuple'),
    head=dict(in_channels=512),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)], probs=[0.3, 0.3]),
)
# 48 images on each of 4 GPUs
train_dataloader = dict(batch_size=48, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=48, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=192)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.01))
# 200 epochs and 10 at the lowest rate
train_cfg = dict(max_epochs=210)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=180,
        eta_min=1.5e-5,
        by_epoch=True,
        begin=20,
        end=200,
        convert_to_iter_based=True,
    ),
]
randomness = dict(seed=42)
