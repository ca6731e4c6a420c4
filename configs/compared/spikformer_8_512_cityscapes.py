# Table 4: Spikformer, 8-512, stage 1 on single frames
_base_ = ['../svf_cityscapes.py']

load_from = 'work_dirs/spikformer_8_512_imagenet/epoch_200.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmsvf.Spikformer',
        arch='8-512',
        space_time='joint',
        time_steps=4,
        out_indices=(0, 1, 2, 4),
        output='tuple',
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
