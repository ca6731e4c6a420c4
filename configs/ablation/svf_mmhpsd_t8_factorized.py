# Table 6, Space-time attention: joint -> factorized
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(backbone=dict(attention=dict(space_time='factorized')))
