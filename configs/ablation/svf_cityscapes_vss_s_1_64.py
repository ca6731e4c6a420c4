# Table 6, Threshold scale in Eq. 10 without the BatchNorm that hides it (D4): s = 1/64; stage 2
_base_ = ['../svf_cityscapes_vss.py']

load_from = 'work_dirs/svf_cityscapes_s_1_64/epoch_300.pth'
model = dict(backbone=dict(attention=dict(norm=False, scale=1 / 64)), memory=dict(norm=False, scale=1 / 64))
