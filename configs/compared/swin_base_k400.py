# Table 2, without spikes: Video Swin-B, on the data and schedule of our row
_base_ = [
    'mmaction::_base_/models/swin_tiny.py',
    '../_base_/kinetics400.py',
    '../_base_/adamw_30e.py',
    '../_base_/runtime_mmaction.py',
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.3,
        pretrained='https://download.openmmlab.com/mmaction/v1.0/recognition/swin/swin_base_patch4_window7_224.pth',
    ),
    cls_head=dict(in_channels=1024),
)
