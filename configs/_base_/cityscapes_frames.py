# Cityscapes, tested at 512x1024; crops of 768x768 (D20) from frames of 0.5 to 2 times that size (D45). A frame of less
# than 1.5 times is lower than a crop: the data preprocessor pads it to one, with void labels (255).
# Frames of a clip are in leftImg8bit_sequence
data_source = """Cityscapes: leftImg8bit/{train,val}, gtFine/{train,val} with *_gtFine_labelTrainIds.png (made by
mmseg's tools/dataset_converters/cityscapes.py), and leftImg8bit_sequence/{train,val} for clips. Published at
https://www.cityscapes-dataset.com (leftImg8bit, gtFine and leftImg8bit_sequence, each _trainvaltest)."""
data_root = 'data/cityscapes/'
crop_size = (768, 768)
train_pipeline = [
    dict(
        type='mmsvf.ClipTransforms',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomResize', scale=(1024, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
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
            dict(type='Resize', scale=(1024, 512), keep_ratio=True),
            # after the resizing, which the mask does not follow: scores are those of the full size
            dict(type='LoadAnnotations'),
        ],
    ),
    dict(type='mmsvf.PackClipSegInputs'),
]
# 2 samples on each of 8 GPUs
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmsvf.CityscapesClipDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        sequence_path='leftImg8bit_sequence/train',
        offsets=(),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmsvf.CityscapesClipDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        sequence_path='leftImg8bit_sequence/val',
        offsets=(),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# one labelled frame a sequence: no video consistency
val_evaluator = dict(type='mmsvf.VideoSegMetric', iou_metrics=['mIoU'], windows=())
test_evaluator = val_evaluator
