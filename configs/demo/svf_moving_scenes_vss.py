# The embedded default for video segmentation, stage 2: clips of four frames, only the memory is trained. The last frame
# is spoilt, in training and testing, so that there is something to remember
_base_ = ['svf_moving_scenes.py']

load_from = 'work_dirs/demo_seg/stage1/epoch_4.pth'
model = dict(
    type='mmsvf.ClipEncoderDecoder',
    data_preprocessor=dict(type='mmsvf.ClipSegDataPreProcessor'),
    memory=dict(type='mmsvf.MemoryReadFuse', in_channels=[16, 32, 48, 64]),
    train_memory_only=True,
)
offsets = (-3, -2, -1)
load, annotate, pack = _base_.load, _base_.annotate, _base_.pack
frames = dict(type='mmsvf.LoadEarlierFrames')
spoil = dict(type='mmsvf.DegradeLastFrame', kind='occlusion', strength=0.6)
spoil_alike = dict(seed=0, **spoil)
train_pipeline = [load, annotate, frames, dict(type='RandomFlip', prob=0.5), spoil, pack]
test_pipeline = [load, frames, spoil_alike, annotate, pack]
tta_pipeline = [*test_pipeline[:3], dict(type='TestTimeAug', transforms=[_base_.flips, [annotate], [pack]])]
train_dataloader = dict(dataset=dict(dataset=dict(offsets=offsets, pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(offsets=offsets, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(offsets=offsets, pipeline=test_pipeline))
visualizer = dict(transforms=[spoil_alike])  # what the network saw
