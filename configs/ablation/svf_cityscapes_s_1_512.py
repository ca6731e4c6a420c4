# Table 6, Threshold scale in Eq. 10 without the BatchNorm that hides it (D4): s = 1/512
_base_ = ['../svf_cityscapes.py']

model = dict(backbone=dict(attention=dict(norm=False, scale=1 / 512)))
