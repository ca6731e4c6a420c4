# Table 8: SEW-ResNet-152, 4 time steps, on the data and schedule of our row
_base_ = ['../svf_imagenet_t1.py']

model = dict(
    backbone=dict(_delete_=True, type='mmsvf.SEWResNet', arch='152', time_steps=4, keep_time=True, output='tuple'),
    head=dict(in_channels=2048, neuron=None),
)
