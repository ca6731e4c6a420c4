# Table 4, without spikes: SegFormer-B1, single frames, on the data and schedule of our row
_base_ = [
    'mmseg::_base_/models/segformer_mit-b0.py',
    '../_base_/cityscapes_frames.py',
    '../_base_/segmentation_adamw.py',
    '../_base_/runtime_mmseg.py',
]

checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b1_20220624-02e5a6a1.pth'
model = dict(
    data_preprocessor=dict(size=(768, 768), test_cfg=dict(size_divisor=32)),
    backbone=dict(embed_dims=64, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
)

# the schedule of our row (D25)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=10)
param_scheduler = dict(type='CosineAnnealingLR', T_max=400, by_epoch=True)
