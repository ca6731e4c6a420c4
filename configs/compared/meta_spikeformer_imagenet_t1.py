# Table 8: Meta-SpikeFormer, large, 1 time step: dot-product attention within each step
_base_ = ['../svf_imagenet_t1.py']

model = dict(backbone=dict(attention=dict(score='dot', space_time='neuron')))
