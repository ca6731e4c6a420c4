# Table 8: Meta-SpikeFormer, large, 4 time steps: dot-product attention within each step
_base_ = ['../svf_imagenet_t4.py']

load_from = 'work_dirs/meta_spikeformer_imagenet_t1/epoch_200.pth'
model = dict(backbone=dict(attention=dict(score='dot', space_time='neuron')))
