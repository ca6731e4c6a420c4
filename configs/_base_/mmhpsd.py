# MMHPSD: clips of 8 steps, 1 to 4 seconds long in training and 2 in testing, turned by up to 20 degrees (App. H)
data_source = """MMHPSD with its annotations, as EventHPE publishes it (frames in full_pic_256/, events in events_256/;
https://github.com/JimmyZou/EventHPE), or as HumanPoseTracking (mmhpsd_grayscale_img/, mmhpsd_events/;
https://github.com/JimmyZou/HumanPoseTracking_SNN). The body: your own SMPL file as data/smpl/SMPL_MALE.pkl
(https://smpl.is.tue.mpg.de), or another path as --cfg-options model.head.body=PATH."""
dataset_type = 'mmsvf.MMHPSDDataset'
data_mode = 'topdown'  # for mmpose's inferencer: the person is looked for in the picture or the box that it is given
data_root = 'data/mmhpsd'
# mmpose's inference runs it on pictures and clips of its own: LoadImage and ResizeClip leave the data set's as they are
test_pipeline = [dict(type='LoadImage'), dict(type='mmsvf.ResizeClip', size=256), dict(type='mmsvf.PackPoseClip')]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
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
        type=dataset_type,
        data_root=data_root,
        split='test',
        modality='frames',
        time_steps=8,
        durations=(2,),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmsvf.SMPLPoseMetric')
test_evaluator = val_evaluator
