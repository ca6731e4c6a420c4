# Table 5: Meta-SpikeFormer, large, stage 2 on clips, the memory read by dot product, too
_base_ = ['../svf_vspw_vss.py']

load_from = 'work_dirs/meta_spikeformer_vspw/epoch_60.pth'
model = dict(backbone=dict(attention=dict(score='dot')), memory=dict(score='dot'))
