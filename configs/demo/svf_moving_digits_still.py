# Pre-training on still pictures: which digit it is, of single frames of the videos; for configs/ablation/start.yml
_base_ = ['svf_moving_digits.py']

num_classes = 10
model = dict(cls_head=dict(num_classes=num_classes))
pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='mmsvf.SampleClip', clip_len=1, frame_interval=1, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(48, 48), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
data_root = 'data/moving_digits/'
digits = dict(num_classes=num_classes, metainfo=dict(classes=tuple('0123456789')), pipeline=pipeline)
train_dataloader = dict(batch_size=32, dataset=dict(ann_file=data_root + 'train_digit.txt', **digits))
val_dataloader = dict(dataset=dict(ann_file=data_root + 'val_digit.txt', **digits))
test_dataloader = val_dataloader

auto_scale_lr = dict(base_batch_size=32)
train_cfg = dict(max_epochs=16, val_interval=4)
param_scheduler = dict(total_steps=16)
