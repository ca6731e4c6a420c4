# Table 5: Spikformer, 8-768, stage 1 on single frames
_base_ = ['../svf_vspw.py']

load_from = 'work_dirs/spikformer_8_768_imagenet/epoch_200.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmsvf.Spikformer',
        arch='8-768',
        space_time='joint',
        time_steps=4,
        out_indices=(0, 1, 2, 4),
        output='tuple',
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
