# Table 3: Spikformer*, 8-512: joint space-time dot-product attention
_base_ = ['../svf_mmhpsd_t8.py']

load_from = 'work_dirs/spikformer_8_512_imagenet/epoch_200.pth'
model = dict(
    backbone=dict(_delete_=True, type='mmsvf.Spikformer', arch='8-512', space_time='joint', output='tuple'),
    head=dict(in_channels=512, neuron=None),
)
