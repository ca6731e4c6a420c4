# Table 6, Space-time attention: joint -> hierarchical
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(backbone=dict(attention=dict(space_time='hierarchical')))
