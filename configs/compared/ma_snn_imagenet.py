# Table 8: MA-SNN (MS-ResNet-104 with channel and spatial attention), 4 time steps, on the data and schedule of our row
_base_ = ['../svf_imagenet_t1.py']

model = dict(
    backbone=dict(
        _delete_=True, type='mmsvf.MSResNet', arch='104', attention=True, time_steps=4, keep_time=True, output='tuple'
    ),
    head=dict(in_channels=512),
)
