# VSPW at 480p, crops of 480x480, tested at 480x853 padded to 480x864 (D19)
data_source = """VSPW_480p: data/VIDEO/{origin,mask} and the lists train.txt, val.txt. Published at
https://www.vspwdataset.com and https://github.com/VSPW-dataset/VSPW-dataset-download."""
data_root = 'data/VSPW_480p/'
crop_size = (480, 480)
train_pipeline = [
    dict(
        type='mmsvf.ClipTransforms',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomResize', scale=(853, 480), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
        ],
    ),
    dict(type='mmsvf.PackClipSegInputs'),
]
test_pipeline = [
    dict(
        type='mmsvf.ClipTransforms',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(853, 480), keep_ratio=True),
            dict(type='LoadAnnotations'),
        ],
    ),
    dict(type='mmsvf.PackClipSegInputs'),
]
# A sample is a random frame of a video, each video 50 times an epoch, as in CFFM: 2806 x 50 / 16 = 8769 iterations.
# An epoch of all 198,244 frames would be 12,390 (D18)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=50,
        dataset=dict(
            type='mmsvf.VSPWDataset',
            data_root=data_root,
            ann_file='train.txt',
            offsets=(),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmsvf.VSPWDataset',
        data_root=data_root,
        ann_file='val.txt',
        offsets=(),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmsvf.VideoSegMetric', iou_metrics=['mIoU'], windows=(8, 16))
test_evaluator = val_evaluator
