# Table 8: Meta-SpikeFormer, small, 1 time step: dot-product attention within each step
_base_ = ['../svf_imagenet_t1_small.py']

model = dict(backbone=dict(attention=dict(score='dot', space_time='neuron')))
