# Table 3: Meta-SpikeFormer*, large: joint space-time dot-product attention
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(backbone=dict(attention=dict(score='dot')))
