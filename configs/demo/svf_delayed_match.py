# A delayed match to sample: the quadrant of the patch that has the colour of the first frame's (docs/evidence.md).
# Data: tools/dataset_converters/delayed_match.py data/delayed_match
# Starts from the weights of svf_delayed_match_pairs.py
_base_ = ['../_base_/runtime_mmaction.py', '../_base_/svf_recognizer.py']

num_classes = 4
# The convolution stages, and what hands their features to the attention, stay as the still pictures left them: trained
# on, they take two of the colours for one (docs/evidence.md)
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(16, 32, 64, 128, 128), depths=(1, 1, 1, 1, 1)),
        frozen_stages=2,
        frozen_modules=('stages.3.downsample',),
    ),
    cls_head=dict(num_classes=num_classes, in_channels=128, topk=(1,)),
)
load_from = 'work_dirs/svf_delayed_match_pairs/epoch_1.pth'

data_source = 'Written by: python tools/dataset_converters/delayed_match.py data/delayed_match'
data_root = 'data/delayed_match/'
# the whole video; no flip and no crop: they would change the place. At 32 x 32 a quadrant is one token of the attention
pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=8, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
places = ('top-left', 'top-right', 'bottom-left', 'bottom-right')
dataset = dict(type='mmsvf.VideoClipDataset', num_classes=num_classes, metainfo=dict(classes=places), pipeline=pipeline)
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file=data_root + 'train.txt', data_prefix=dict(video=data_root + 'train'), **dataset),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file=data_root + 'val.txt', data_prefix=dict(video=data_root + 'val'), test_mode=True, **dataset),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='AccMetric', metric_options=dict(top_k_accuracy=dict(topk=(1,))))
test_evaluator = val_evaluator

auto_scale_lr = dict(enable=False, base_batch_size=32)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=1, by_epoch=True, convert_to_iter_based=True),
]
randomness = dict(seed=0)
