# SpikeVideoFormer, small (15.1 M), on ImageNet-1K with one time step (Table 8)
_base_ = ['svf_imagenet_t1.py']

model = dict(backbone=dict(arch='small'), head=dict(in_channels=360))
