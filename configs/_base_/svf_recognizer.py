# SpikeVideoFormer as a video classifier (Sec. 4.1): large, 400 classes
model = dict(
    type='mmsvf.ClipRecognizer',
    backbone=dict(type='mmsvf.SpikeVideoFormer', arch='large'),
    cls_head=dict(type='mmsvf.SpikeClsHead', num_classes=400, in_channels=640, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
)
