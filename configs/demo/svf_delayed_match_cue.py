# Pre-training on still pictures, the first frames: the colour of their patch; before svf_delayed_match_pairs.py
_base_ = ['svf_delayed_match_pairs.py']

load_from = None
model = dict(backbone=dict(frozen_stages=-1, frozen_modules=()))
pipeline = [
    dict(type='DecordInit', num_threads=1),
    # of eight frames, a span of eight: the first one
    dict(type='mmsvf.SampleClip', clip_len=1, frame_interval=8, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
data_root = 'data/delayed_match/'
colours = dict(classes=('red', 'green', 'blue', 'white'))
train_dataloader = dict(dataset=dict(ann_file=data_root + 'train_cue.txt', metainfo=colours, pipeline=pipeline))
val_dataloader = dict(dataset=dict(ann_file=data_root + 'val_cue.txt', metainfo=colours, pipeline=pipeline))
test_dataloader = val_dataloader
