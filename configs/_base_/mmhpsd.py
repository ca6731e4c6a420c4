# MMHPSD: clips of 8 steps, 1 to 4 seconds long in training and 2 in testing, turned by up to 20 degrees (App. H)
data_source = """MMHPSD, as EventHPE or as HumanPoseTracking distribute it. Published at
https://github.com/JimmyZou/EventHPE. The body: your own SMPL file as data/smpl/SMPL_MALE.pkl
(https://smpl.is.tue.mpg.de), or another path as --cfg-options model.head.body=PATH."""
data_root = 'data/mmhpsd'
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmsvf.MMHPSDDataset',
        data_root=data_root,
        split='train',
        modality='frames',
        time_steps=8,
        durations=(1, 2, 3, 4),
        pipeline=[dict(type='mmsvf.RotateClip', degrees=20), dict(type='mmsvf.PackPoseClip')],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmsvf.MMHPSDDataset',
        data_root=data_root,
        split='test',
        modality='frames',
        time_steps=8,
        durations=(2,),
        pipeline=[dict(type='mmsvf.PackPoseClip')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmsvf.SMPLPoseMetric')
test_evaluator = val_evaluator
