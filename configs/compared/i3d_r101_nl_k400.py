# Table 2, without spikes: I3D with ResNet-101 and five non-local blocks, on the data and schedule of our row
_base_ = [
    'mmaction::_base_/models/i3d_r50.py',
    '../_base_/kinetics400.py',
    '../_base_/adamw_30e.py',
    '../_base_/runtime_mmaction.py',
]

# mmaction2 has ResNet-50; in ResNet-101 the third stage has 23 blocks, of which every second is inflated
model = dict(
    backbone=dict(
        depth=101,
        pretrained='torchvision://resnet101',
        inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0) * 11 + (1,), (0, 1, 0)),
        # two blocks in the second stage, three in the third, as in the non-local paper
        non_local=((0, 0, 0), (0, 1, 0, 1), (0,) * 7 + (1,) + (0,) * 6 + (1,) + (0,) * 7 + (1,), (0, 0, 0)),
        non_local_cfg=dict(
            sub_sample=True, use_scale=True, norm_cfg=dict(type='BN3d', requires_grad=True), mode='embedded_gaussian'
        ),
    )
)
