# The embedded default for video segmentation (`make demo-seg`), stage 1: single frames, encoder and decoder.
# Data: tools/dataset_converters/moving_scenes.py data/moving_scenes
_base_ = ['../_base_/svf_segmentor.py', '../_base_/runtime_mmseg.py']

classes = ('brick', 'grass', 'gravel', 'cat', 'coffee', 'astronaut', 'rocket')
palette = [[120, 60, 40], [60, 160, 60], [140, 140, 140], [240, 160, 40], [220, 40, 40], [60, 120, 240], [200, 80, 220]]
model = dict(
    # frames have the size already: no padding
    data_preprocessor=dict(size=(64, 96), test_cfg=dict(size_divisor=16)),
    backbone=dict(arch=dict(_delete_=True, embed_dims=(16, 32, 48, 64, 64), depths=(1, 1, 1, 1, 1))),
    neck=dict(in_channels=[16, 32, 48, 64], out_channels=32),
    decode_head=dict(in_channels=[32, 32, 32, 32], channels=32, num_classes=7, norm_cfg=dict(type='BN')),
)

data_source = 'Written by: python tools/dataset_converters/moving_scenes.py data/moving_scenes'
data_root = 'data/moving_scenes/vspw/'
dataset = dict(
    type='mmsvf.VSPWDataset', data_root=data_root, offsets=(), metainfo=dict(classes=classes, palette=palette)
)
# what mmsegmentation tells of a picture, and of which video it is which frame
meta_keys = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip')
pack = dict(type='PackSegInputs', meta_keys=(*meta_keys, 'flip_direction', 'reduce_zero_label', 'video_id', 'frame_id'))
load, annotate = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
train_pipeline = [load, annotate, dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'), pack]
test_pipeline = [load, annotate, pack]
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [load, dict(type='TestTimeAug', transforms=[flips, [annotate], [pack]])]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset', times=10, dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **dataset)
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='val.txt', test_mode=True, pipeline=test_pipeline, **dataset),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmsvf.VideoSegMetric', iou_metrics=['mIoU'], windows=(8, 16))
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.005))
param_scheduler = dict(type='OneCycleLR', eta_max=4e-3, total_steps=4, by_epoch=True, convert_to_iter_based=True)
randomness = dict(seed=0)
