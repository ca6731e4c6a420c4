# Table 3: MA-SNN: MS-ResNet-104 with channel and spatial attention
_base_ = ['../svf_mmhpsd_t8.py']

load_from = 'work_dirs/ma_snn_imagenet/epoch_200.pth'
model = dict(
    backbone=dict(_delete_=True, type='mmsvf.MSResNet', arch='104', attention=True, output='tuple'),
    head=dict(in_channels=512),
)
