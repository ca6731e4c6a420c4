# SpikeVideoFormer, small (15.1 M with 1000 classes), on Kinetics-400; the paper reports the large model only
_base_ = ['svf_k400.py']

model = dict(backbone=dict(arch='small'), cls_head=dict(in_channels=360))
