# Table 3: Spikformer*, 8-512: joint space-time dot-product attention
_base_ = ['../svf_mmhpsd_t8.py']

model = dict(
    backbone=dict(_delete_=True, type='mmsvf.Spikformer', arch='8-512', space_time='joint', output='tuple'),
    head=dict(in_channels=512, neuron=None),
)
