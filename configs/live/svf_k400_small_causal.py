# svf_k400_small.py made causal, to look at videos frame by frame (docs/live.md): fine-tuned from its weights
_base_ = ['../svf_k400_small.py']

load_from = 'work_dirs/svf_k400_small/epoch_30.pth'
default_hooks = dict(load_report=dict(start="the joint model's weights (svf_k400_small.py)"))
# a read is the mean over the frames so far, times the keys of a clip in training: (T, H, W) of 224 x 224 at stride 16
model = dict(backbone=dict(attention=dict(space_time='causal', reference_size=(32, 14, 14))))
# at the rate that the joint training ends with; the scheduler's T_max keeps it almost constant
train_cfg = dict(max_epochs=5)
optim_wrapper = dict(optimizer=dict(lr=6e-5))
