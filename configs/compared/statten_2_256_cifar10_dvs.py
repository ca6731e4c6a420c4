# STAtten, 2-256, on CIFAR10-DVS: 16 steps of equally many events at 64x64, in blocks of 4, max-pooled (scale
# 1/(H^2 4)), trained on the scores of each step (TET), with its own recipe; it used half precision: --amp.
# tools/dataset_converters/cifar10_dvs.py writes the lists
_base_ = ['../_base_/runtime_mmpretrain.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmsvf.STAtten',
        arch='2-256',
        in_channels=2,
        attention=dict(block_steps=4, scale='volume', pool=True),
        output='tuple',
    ),
    head=dict(
        type='mmsvf.SpikeImageClsHead',
        num_classes=10,
        in_channels=256,
        temporal=dict(weight=0.001, mean=1.0),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
    data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=10),
)

pipeline = [dict(type='mmsvf.LoadEventCounts', time_steps=16, size=64, sensor=128), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root='data/cifar10_dvs',
        ann_file='train.txt',
        data_prefix='events_np',
        extensions=('.npz',),
        pipeline=pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root='data/cifar10_dvs',
        ann_file='val.txt',
        data_prefix='events_np',
        extensions=('.npz',),
        pipeline=pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=210, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.01, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=190,
        eta_min=3e-4,
        by_epoch=True,
        begin=10,
        end=200,
        convert_to_iter_based=True,
    ),
]
randomness = dict(seed=42)
