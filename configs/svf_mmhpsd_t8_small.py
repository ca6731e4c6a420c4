# svf_mmhpsd_t8.py with the small model (15.5 M in the paper)
_base_ = ['svf_mmhpsd_t8.py']

model = dict(backbone=dict(arch='small'), head=dict(in_channels=360))
