# Table 6, Space-time attention: joint -> neuron level; stage 2
_base_ = ['../svf_cityscapes_vss.py']

load_from = 'work_dirs/svf_cityscapes_neuron/epoch_300.pth'
model = dict(backbone=dict(attention=dict(space_time='neuron')))
