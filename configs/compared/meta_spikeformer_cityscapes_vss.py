# Table 4: Meta-SpikeFormer, small, stage 2 on clips, the memory read by dot product, too
_base_ = ['../svf_cityscapes_vss.py']

load_from = 'work_dirs/meta_spikeformer_cityscapes/epoch_300.pth'
model = dict(backbone=dict(attention=dict(score='dot')), memory=dict(score='dot'))
