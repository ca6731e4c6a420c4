# Table 3, without spikes: in the place of VIBE, its temporal encoder (ResNet-50, GRU) with our head and data
_base_ = ['../svf_mmhpsd_t8.py']

load_from = None  # the backbone brings its own
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmsvf.FrameBackbone',
        backbone=dict(
            type='mmpose.ResNet', depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')
        ),
    ),
    neck=dict(type='mmsvf.FrameGRU', in_channels=2048),
    head=dict(in_channels=2048, neuron=None),
)
