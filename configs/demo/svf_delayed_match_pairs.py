# The delayed match without a delay: the first and the last frame of the same videos, before svf_delayed_match.py
_base_ = ['svf_delayed_match.py']

load_from = 'work_dirs/svf_delayed_match_cue/epoch_1.pth'
pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=2, frame_interval=7, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=6e-3))
