# SpikeVideoFormer as an image classifier (App. F): large, 1000 classes; an image is shown time_steps times
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmsvf.SpikeVideoFormer', arch='large', time_steps=1, keep_time=True, output='tuple'),
    head=dict(
        type='mmsvf.SpikeImageClsHead',
        num_classes=1000,
        in_channels=640,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
)
