# Table 6, Space-time attention: joint -> neuron level
_base_ = ['../svf_cityscapes.py']

model = dict(backbone=dict(attention=dict(space_time='neuron')))
