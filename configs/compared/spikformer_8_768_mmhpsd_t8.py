# Table 3: Spikformer*, 8-768: joint space-time dot-product attention
_base_ = ['../svf_mmhpsd_t8.py']

load_from = 'work_dirs/spikformer_8_768_imagenet/epoch_200.pth'
model = dict(
    backbone=dict(_delete_=True, type='mmsvf.Spikformer', arch='8-768', space_time='joint', output='tuple'),
    head=dict(in_channels=768, neuron=None),
)
