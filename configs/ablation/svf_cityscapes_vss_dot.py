# Table 6, Attention score: Hamming -> dot product; stage 2
_base_ = ['../svf_cityscapes_vss.py']

load_from = 'work_dirs/svf_cityscapes_dot/epoch_300.pth'
model = dict(backbone=dict(attention=dict(score='dot')), memory=dict(score='dot'))
