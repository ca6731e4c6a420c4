# Table 3: Meta-SpikeFormer*, small: joint space-time dot-product attention
_base_ = ['../svf_mmhpsd_t8_small.py']

model = dict(backbone=dict(attention=dict(score='dot')))
