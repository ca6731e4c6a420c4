# Table 8: Spikformer, 8-512, 4 time steps, on the data and schedule of our row
_base_ = ['../svf_imagenet_t1.py']

model = dict(
    backbone=dict(_delete_=True, type='mmsvf.Spikformer', arch='8-512', time_steps=4, keep_time=True, output='tuple'),
    head=dict(in_channels=512, neuron=None),
)
