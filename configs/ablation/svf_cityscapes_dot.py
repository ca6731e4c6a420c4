# Table 6, Attention score: Hamming -> dot product
_base_ = ['../svf_cityscapes.py']

model = dict(backbone=dict(attention=dict(score='dot')))
