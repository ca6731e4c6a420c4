# STAtten, 8-768: rand-m7, scale 0.08 to 1, mixup and cutmix always
_base_ = ['statten_8_512_imagenet.py']

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=7,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    dict(type='PackInputs'),
]
model = dict(
    backbone=dict(arch='8-768'),
    head=dict(in_channels=768),
    train_cfg=dict(probs=[0.5, 0.5]),
)
# 64 images on each of 4 GPUs
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=256)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=180,
        eta_min=2e-5,
        by_epoch=True,
        begin=20,
        end=200,
        convert_to_iter_based=True,
    ),
]
