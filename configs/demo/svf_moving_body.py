# The embedded default for human pose: a tiny model and the embedded figure (not SMPL).
# Data: tools/dataset_converters/moving_body.py data/moving_body
_base_ = ['../_base_/svf_pose_estimator.py', '../_base_/mmhpsd.py', '../_base_/runtime_mmpose.py']

# From scratch, in minutes: integer neurons, but for the binary spikes of the attention, and losses that see the joints
# more and the translation less than in the paper's weights.
neuron = dict(type='IntegerLIF', max_value=4)
data_source = 'Written by: python tools/dataset_converters/moving_body.py data/moving_body'
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(8, 16, 32, 96, 128), depths=(1, 1, 1, 1, 1)),
        neuron=neuron,
        attention=dict(neuron='official'),
    ),
    head=dict(in_channels=128, body=None, neuron=neuron, loss=dict(translation=10.0, joints_3d=50.0)),
)
resize = dict(type='mmsvf.ResizeClip', size=64)
pack = dict(type='mmsvf.PackPoseClip')
test_pipeline = [dict(type='LoadImage'), resize, pack]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/moving_body',
        durations=(1, 2),
        pipeline=[dict(type='mmsvf.RotateClip', degrees=10), resize, pack],
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root='data/moving_body', pipeline=test_pipeline),
)
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01))
param_scheduler = dict(type='OneCycleLR', eta_max=4e-3, total_steps=1, by_epoch=True, convert_to_iter_based=True)
randomness = dict(seed=0)
