# Table 6, Threshold scale in Eq. 10 without the BatchNorm that hides it (D4): s = 1/8
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(backbone=dict(attention=dict(norm=False, scale=1 / 8)))
