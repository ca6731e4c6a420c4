# The embedded default of video classification made causal (docs/live.md): fine-tuned from its checkpoint
_base_ = ['../demo/svf_moving_digits.py']

load_from = 'checkpoints/svf_moving_digits-1475b0c1.pth'
model = dict(backbone=dict(attention=dict(space_time='causal', reference_size=(8, 3, 3))))
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(eta_max=1e-3, total_steps=2)
