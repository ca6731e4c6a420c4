# VSPW at 480p, crops of 480x480, tested at 480x853 padded to 480x864 (D19)
data_source = """VSPW_480p: data/VIDEO/{origin,mask} and the lists train.txt, val.txt. Published at
https://www.vspwdataset.com and https://github.com/VSPW-dataset/VSPW-dataset-download."""
data_root = 'data/VSPW_480p/'
crop_size = (480, 480)
# what mmsegmentation tells of a picture, and of which video it is which frame
meta_keys = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip')
pack = dict(type='PackSegInputs', meta_keys=(*meta_keys, 'flip_direction', 'reduce_zero_label', 'video_id', 'frame_id'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(853, 480), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    pack,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(853, 480), keep_ratio=True),
    dict(type='LoadAnnotations'),
    pack,
]
# tools/test.py --tta: a frame and its mirror image. Other sizes would want the attention's reference_size (D51)
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    *test_pipeline[:2],
    dict(type='TestTimeAug', transforms=[flips, [dict(type='LoadAnnotations')], [pack]]),
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
# weighted IoU and video consistency as well, which single frames have, too (Table 5)
val_evaluator = dict(type='mmsvf.VideoSegMetric', iou_metrics=['mIoU'], windows=(8, 16))
test_evaluator = val_evaluator

# What stage 2 takes in place of the above: the earlier frames of a clip
clip_train_pipeline = [
    *train_pipeline[:2],
    dict(type='mmsvf.LoadEarlierFrames'),
    *train_pipeline[2:5],
    dict(type='mmsvf.ClipPhotoMetricDistortion'),
    pack,
]
clip_test_pipeline = [test_pipeline[0], dict(type='mmsvf.LoadEarlierFrames'), *test_pipeline[1:]]
clip_tta_pipeline = [tta_pipeline[0], dict(type='mmsvf.LoadEarlierFrames'), *tta_pipeline[1:]]
