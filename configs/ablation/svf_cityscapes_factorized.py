# Table 6, Space-time attention: joint -> factorized
_base_ = ['../svf_cityscapes.py']

model = dict(backbone=dict(attention=dict(space_time='factorized')))
