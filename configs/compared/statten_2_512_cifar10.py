# STAtten, 2-512, on CIFAR-10: 4 time steps in blocks of 2 (scale 1/8), with its own recipe. The small model:
# --cfg-options model.backbone.arch=2-256 model.head.in_channels=256
_base_ = ['../_base_/runtime_mmpretrain.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmsvf.STAtten', arch='2-512', pooling='0011', time_steps=4, keep_time=True, output='tuple'),
    head=dict(
        type='mmsvf.SpikeImageClsHead',
        num_classes=10,
        in_channels=512,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=10,
        mean=[125.307, 122.961, 113.8575],
        std=[51.5865, 50.847, 51.255],
        to_rgb=False,
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.5)]),
)

# CIFAR's pictures are RGB; rand-m9-n1-mstd0.4-inc1, colour jitter 0.5, no half precision
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=1,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.4,
        hparams=dict(pad_val=[125, 123, 114], interpolation='bicubic'),
    ),
    dict(type='ColorJitter', brightness=0.5, contrast=0.5, saturation=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CIFAR10', data_root='data/cifar10', split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CIFAR10', data_root='data/cifar10', split='test', pipeline=[dict(type='PackInputs')]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

# 200 epochs and 10 at the lowest rate
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=210, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=64)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.06),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / 3e-4, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=180,
        eta_min=1e-5,
        by_epoch=True,
        begin=20,
        end=200,
        convert_to_iter_based=True,
    ),
]
randomness = dict(seed=42)
