# The embedded default of human pose made causal (docs/live.md): fine-tuned from what `make demo-pose` trains
_base_ = ['../demo/svf_moving_body.py']

load_from = 'work_dirs/demo_pose/frames/epoch_1.pth'
model = dict(backbone=dict(attention=dict(space_time='causal', reference_size=(8, 4, 4))))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(eta_max=1e-3)
