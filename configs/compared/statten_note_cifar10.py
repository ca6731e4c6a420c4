# Not the paper's STAtten: a description of it that differs from its code (docs/compared_systems.md), with all it names:
# alternating spatial and temporal attention, a learnt leak, a rectangular gradient, a term on firing rates, SGD.
# Its ResNet backbone is SEWResNet or MSResNet; it has no attention
_base_ = ['statten_2_512_cifar10.py']

neuron = dict(type='LearnableLIF', surrogate_function=dict(type='Rect', alpha=1.0))
model = dict(
    backbone=dict(neuron=neuron, attention=dict(space_time=['neuron', 'temporal'], scale=0.125)),
    head=dict(neuron=neuron),
)
custom_hooks = [dict(type='mmsvf.SpikeSparsityHook', weight=0.01)]
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
