# Table 6, Attention score: Hamming -> dot product
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(backbone=dict(attention=dict(score='dot')))
