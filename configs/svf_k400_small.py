# SpikeVideoFormer, small (15.1 M with 1000 classes), on Kinetics-400; the paper reports the large model only
_base_ = ['svf_k400.py']

load_from = 'work_dirs/svf_imagenet_t4_small/epoch_20.pth'
model = dict(backbone=dict(arch='small'), cls_head=dict(in_channels=360))
