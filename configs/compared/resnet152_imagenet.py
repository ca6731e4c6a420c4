# Table 8, without spikes: ResNet-152 (RSB), on the data and schedule of our row
_base_ = ['../svf_imagenet_t1.py']

model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=152),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=2048),
)
