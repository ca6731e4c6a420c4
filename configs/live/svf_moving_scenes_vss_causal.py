# The embedded default of video segmentation, stage 2, made causal (docs/live.md): fine-tuned from what `make demo-seg`
# trains
_base_ = ['../demo/svf_moving_scenes_vss.py']

load_from = 'work_dirs/demo_seg/stage2/epoch_4.pth'
model = dict(backbone=dict(attention=dict(space_time='causal', reference_size=(4, 4, 6))), train_memory_only=False)
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(eta_max=1e-3, total_steps=2)
