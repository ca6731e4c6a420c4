# Table 4: Meta-SpikeFormer, small, stage 1 on single frames
_base_ = ['../svf_cityscapes.py']

load_from = 'work_dirs/meta_spikeformer_imagenet_t4_small/epoch_20.pth'
model = dict(backbone=dict(attention=dict(score='dot')))
