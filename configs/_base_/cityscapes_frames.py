# Cityscapes as mmsegmentation reads it, tested at 512x1024; crops of 768x768 (D20) from frames of 0.5 to 2 times that
# size (D45). A frame of less than 1.5 times is lower than a crop: the preprocessor pads it to one, with void labels.
# Frames of a clip are in leftImg8bit_sequence
data_source = """Cityscapes: leftImg8bit/{train,val}, gtFine/{train,val} with *_gtFine_labelTrainIds.png (made by
mmseg's tools/dataset_converters/cityscapes.py), and leftImg8bit_sequence/{train,val} for clips. Published at
https://www.cityscapes-dataset.com (leftImg8bit, gtFine and leftImg8bit_sequence, each _trainvaltest)."""
data_root = 'data/cityscapes/'
crop_size = (768, 768)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(1024, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    # after the resizing, which the mask does not follow: scores are those of the full size
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
# tools/test.py --tta: a frame and its mirror image. Other sizes would want the attention's reference_size (D51)
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    *test_pipeline[:2],
    dict(type='TestTimeAug', transforms=[flips, [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]),
]
# 2 samples on each of 8 GPUs
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

# What stage 2 takes in place of the above: the earlier frames of a clip, from leftImg8bit_sequence
clip_train_pipeline = [
    *train_pipeline[:2],
    dict(type='mmsvf.LoadEarlierFrames'),
    *train_pipeline[2:5],
    dict(type='mmsvf.ClipPhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
clip_test_pipeline = [test_pipeline[0], dict(type='mmsvf.LoadEarlierFrames'), *test_pipeline[1:]]
clip_tta_pipeline = [tta_pipeline[0], dict(type='mmsvf.LoadEarlierFrames'), *tta_pipeline[1:]]
