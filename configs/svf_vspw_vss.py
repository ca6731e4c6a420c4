# VSPW, stage 2: clips of 4 frames; encoder and decoder of stage 1 are frozen, only the memory is trained (App. I)
_base_ = ['svf_vspw.py']

load_from = 'work_dirs/svf_vspw/epoch_60.pth'
default_hooks = dict(load_report=dict(start="stage 1's weights (svf_vspw.py)"))
model = dict(
    type='mmsvf.ClipEncoderDecoder',
    data_preprocessor=dict(type='mmsvf.ClipSegDataPreProcessor'),
    memory=dict(type='mmsvf.MemoryReadFuse', in_channels=[64, 128, 256, 640]),
    train_memory_only=True,
)
train_pipeline = _base_.clip_train_pipeline
test_pipeline = _base_.clip_test_pipeline
tta_pipeline = _base_.clip_tta_pipeline
offsets = (-9, -6, -3)
train_dataloader = dict(dataset=dict(dataset=dict(offsets=offsets, pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(offsets=offsets, pipeline=test_pipeline))
test_dataloader = val_dataloader

# 175,000 iterations
train_cfg = dict(max_epochs=20)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
