# SpikeVideoFormer, small (15.1 M), on ImageNet-1K with four time steps, from the weights with one (Table 8)
_base_ = ['svf_imagenet_t4.py']

load_from = 'work_dirs/svf_imagenet_t1_small/epoch_200.pth'
model = dict(backbone=dict(arch='small'), head=dict(in_channels=360))
