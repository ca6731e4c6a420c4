# Table 6, Space-time attention: joint -> neuron level
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(backbone=dict(attention=dict(space_time='neuron')))
