# The embedded default for video segmentation, stage 2: clips of four frames, only the memory is trained. The last frame
# is spoilt, in training and testing, so that there is something to remember
_base_ = ['svf_moving_scenes.py']

load_from = 'work_dirs/demo_seg/stage1/epoch_4.pth'
model = dict(memory=dict(type='mmsvf.MemoryReadFuse', in_channels=[16, 32, 48, 64]), train_memory_only=True)
offsets = (-3, -2, -1)
images = dict(type='LoadImageFromFile')
train_pipeline = [
    dict(
        type='mmsvf.ClipTransforms',
        transforms=[images, dict(type='LoadAnnotations'), dict(type='RandomFlip', prob=0.5)],
    ),
    dict(type='mmsvf.DegradeLastFrame', kind='occlusion', strength=0.6),
    dict(type='mmsvf.PackClipSegInputs'),
]
test_pipeline = [
    dict(type='mmsvf.ClipTransforms', transforms=[images, dict(type='LoadAnnotations')]),
    dict(type='mmsvf.DegradeLastFrame', kind='occlusion', strength=0.6, seed=0),
    dict(type='mmsvf.PackClipSegInputs'),
]
train_dataloader = dict(dataset=dict(times=5, dataset=dict(offsets=offsets, pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(offsets=offsets, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(offsets=offsets, pipeline=test_pipeline))
