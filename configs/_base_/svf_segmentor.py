# SpikeVideoFormer as a segmentor: backbone -> SpikeFPN -> Semantic-FPN head on spikes (App. I, D14); small.
# Stage 2 puts a memory behind the backbone.
# Neck and head fire integers up to 4, the paper's "Integer-LIF 4"; its "Integer-LIF 1" is max_value=1 in both:
# --cfg-options model.neck.neuron.max_value=1 model.decode_head.neuron.max_value=1
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32),
    ),
    # the first three stages and the last; stage 3 has the resolution of the last. An image is shown four times and each
    # scale is averaged: its starting weights have four steps, and so have the clips of stage 2 (D44)
    backbone=dict(type='mmsvf.SpikeVideoFormer', arch='small', time_steps=4, out_indices=(0, 1, 2, 4), output='tuple'),
    neck=dict(
        type='mmsvf.SpikeFPN',
        in_channels=[32, 64, 128, 360],
        out_channels=128,
        neuron=dict(type='IntegerLIF', max_value=4),
        norm=True,  # as the public code has it with integer neurons; without, gradients start a thousand times as large
    ),
    decode_head=dict(
        type='mmsvf.SpikeFPNHead',
        in_channels=[128, 128, 128, 128],
        in_index=[0, 1, 2, 3],
        feature_strides=[2, 4, 8, 16],
        channels=128,
        neuron=dict(type='IntegerLIF', max_value=4),
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
