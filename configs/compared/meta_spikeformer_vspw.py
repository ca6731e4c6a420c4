# Table 5: Meta-SpikeFormer, large, stage 1 on single frames
_base_ = ['../svf_vspw.py']

model = dict(backbone=dict(attention=dict(score='dot')))
