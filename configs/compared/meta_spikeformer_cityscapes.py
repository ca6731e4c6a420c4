# Table 4: Meta-SpikeFormer, small, stage 1 on single frames
_base_ = ['../svf_cityscapes.py']

model = dict(backbone=dict(attention=dict(score='dot')))
