# Kinetics-400 in mmaction2's layout, clips of 32x2 frames at 224x224 (App. G; protocol of Video Swin)
data_source = """Kinetics-400 in mmaction2's layout: videos_train/ and videos_val/ with the videos, and lists of lines
'VIDEO LABEL'. The videos: https://github.com/cvdfoundation/kinetics-dataset; the lists: tools/data/kinetics of
mmaction2's repository."""
data_root = 'data/kinetics400/videos_train'
data_root_val = 'data/kinetics400/videos_val'
ann_file_train = 'data/kinetics400/kinetics400_train_list_videos.txt'
ann_file_val = 'data/kinetics400/kinetics400_val_list_videos.txt'

decode = dict(type='DecordInit', num_threads=1)  # more threads deadlock in some decord builds
train_pipeline = [
    decode,
    dict(type='mmsvf.SampleClip', clip_len=32, frame_interval=2, num_clips=1),
    dict(type='DecordDecode'),
    # the paper names no augmentation for Kinetics: Video Swin's, which it cites
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    decode,
    dict(type='mmsvf.SampleClip', clip_len=32, frame_interval=2, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
# 4 clips x 3 crops along the long side (Sec. 4.1, App. G)
test_pipeline = [
    decode,
    dict(type='mmsvf.SampleClip', clip_len=32, frame_interval=2, num_clips=4, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]

# 4 videos on each of 8 GPUs: the paper's 32, read as the total (D24)
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmsvf.VideoClipDataset',
        ann_file=ann_file_train,
        data_prefix=dict(video=data_root),
        num_classes=400,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmsvf.VideoClipDataset',
        ann_file=ann_file_val,
        data_prefix=dict(video=data_root_val),
        num_classes=400,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmsvf.VideoClipDataset',
        ann_file=ann_file_val,
        data_prefix=dict(video=data_root_val),
        num_classes=400,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
