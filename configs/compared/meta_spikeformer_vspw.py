# Table 5: Meta-SpikeFormer, large, stage 1 on single frames
_base_ = ['../svf_vspw.py']

load_from = 'work_dirs/meta_spikeformer_imagenet_t4/epoch_20.pth'
model = dict(backbone=dict(attention=dict(score='dot')))
