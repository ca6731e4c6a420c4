# Table 3: SEW-ResNet-152
_base_ = ['../svf_mmhpsd_t8.py']

load_from = 'work_dirs/sew_resnet152_imagenet/epoch_200.pth'
model = dict(
    backbone=dict(_delete_=True, type='mmsvf.SEWResNet', arch='152', output='tuple'),
    head=dict(in_channels=2048, neuron=None),
)
