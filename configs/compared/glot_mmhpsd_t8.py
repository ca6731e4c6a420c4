# Table 3, without spikes: in the place of GLoT, softmax attention among all tokens of a clip (ResNet-50 at stride 16,
# five layers), whose time is quadratic in T, with our head and data
_base_ = ['../svf_mmhpsd_t8.py']

load_from = None  # the backbone brings its own
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmsvf.FrameBackbone',
        backbone=dict(
            type='mmpose.ResNet',
            depth=50,
            strides=(1, 2, 2, 1),
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
        ),
    ),
    neck=dict(type='mmsvf.SpaceTimeTransformer', in_channels=2048, channels=512, layers=5),
    head=dict(in_channels=512, neuron=None),
)
