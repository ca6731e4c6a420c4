# Table 5: Spikformer, 8-768, stage 2 on clips, the memory read by dot product, too
_base_ = ['spikformer_8_768_vspw.py']

load_from = 'work_dirs/spikformer_8_768_vspw/epoch_60.pth'
model = dict(
    type='mmsvf.ClipEncoderDecoder',
    data_preprocessor=dict(type='mmsvf.ClipSegDataPreProcessor'),
    memory=dict(type='mmsvf.MemoryReadFuse', in_channels=[96, 192, 384, 768], score='dot'),
    train_memory_only=True,
)
train_pipeline = _base_.clip_train_pipeline
test_pipeline = _base_.clip_test_pipeline
tta_pipeline = _base_.clip_tta_pipeline
offsets = (-9, -6, -3)
train_dataloader = dict(dataset=dict(dataset=dict(offsets=offsets, pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(offsets=offsets, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=20)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
