# The embedded default (`make demo`): a tiny SpikeVideoFormer tells eight directions of motion.
# Data: tools/dataset_converters/moving_digits.py data/moving_digits
_base_ = ['../_base_/runtime_mmaction.py', '../_base_/svf_recognizer.py']

num_classes = 8
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 32, 64, 64), depths=(1, 1, 1, 1, 1))),
    cls_head=dict(num_classes=num_classes, in_channels=64, topk=(1,)),
)

data_source = 'Written by: python tools/dataset_converters/moving_digits.py data/moving_digits'
data_root = 'data/moving_digits/'
# no flip and no wide crop: they would change the direction
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=8, frame_interval=1, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(48, 48), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=8, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(48, 48), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
# four clips a video, their scores averaged, as in the Kinetics protocol
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=8, frame_interval=1, num_clips=4, test_mode=True),
    *val_pipeline[2:],
]
directions = ('east', 'south-east', 'south', 'south-west', 'west', 'north-west', 'north', 'north-east')
dataset = dict(type='mmsvf.VideoClipDataset', num_classes=num_classes, metainfo=dict(classes=directions))
# two processes of one thread each (make demo) are faster on two cores than one process of two threads;
# decoding takes little, so there are no worker processes to compete with them
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        ann_file=data_root + 'train.txt',
        data_prefix=dict(video=data_root + 'train'),
        pipeline=train_pipeline,
        **dataset,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file=data_root + 'val.txt',
        data_prefix=dict(video=data_root + 'val'),
        pipeline=val_pipeline,
        test_mode=True,
        **dataset,
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file=data_root + 'val.txt',
        data_prefix=dict(video=data_root + 'val'),
        pipeline=test_pipeline,
        test_mode=True,
        **dataset,
    ),
)
val_evaluator = dict(type='AccMetric', metric_options=dict(top_k_accuracy=dict(topk=(1,))))
test_evaluator = val_evaluator

auto_scale_lr = dict(enable=False, base_batch_size=16)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=6e-3, weight_decay=0.01))
# one number of epochs: the schedule covers the training
param_scheduler = dict(
    type='OneCycleLR', eta_max=6e-3, total_steps=4, pct_start=0.2, by_epoch=True, convert_to_iter_based=True
)
randomness = dict(seed=0)
