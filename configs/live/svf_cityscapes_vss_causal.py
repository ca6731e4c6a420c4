# svf_cityscapes_vss.py made causal, to look at videos frame by frame (docs/live.md): fine-tuned from its weights
_base_ = ['../svf_cityscapes_vss.py']

load_from = 'work_dirs/svf_cityscapes_vss/epoch_100.pth'
default_hooks = dict(load_report=dict(start="the joint model's weights (svf_cityscapes_vss.py)"))
model = dict(
    # a read is the mean over the frames so far, times the keys of a clip in training: (T, H, W) of a crop at stride 16
    backbone=dict(attention=dict(space_time='causal', reference_size=(4, 48, 48))),
    train_memory_only=False,  # what changes is in the backbone
)
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
