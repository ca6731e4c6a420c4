# Table 3: Meta-SpikeFormer*, small: joint space-time dot-product attention
_base_ = ['../svf_mmhpsd_t8_small.py']

load_from = 'work_dirs/meta_spikeformer_imagenet_t4_small/epoch_20.pth'
model = dict(backbone=dict(attention=dict(score='dot')))
