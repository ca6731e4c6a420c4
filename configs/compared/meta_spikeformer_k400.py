# Table 2: Meta-SpikeFormer, large, with joint space-time dot-product attention, as in the starred rows of Table 3
_base_ = ['../svf_k400.py']

load_from = 'work_dirs/meta_spikeformer_imagenet_t4/epoch_20.pth'
model = dict(backbone=dict(attention=dict(score='dot')))
