# Cityscapes, stage 2: clips of 4 frames; encoder and decoder of stage 1 are frozen, only the memory is trained (App. I)
_base_ = ['svf_cityscapes.py']

load_from = 'work_dirs/svf_cityscapes/epoch_300.pth'
default_hooks = dict(load_report=dict(start="stage 1's weights (svf_cityscapes.py)"))
model = dict(
    type='mmsvf.ClipEncoderDecoder',
    data_preprocessor=dict(type='mmsvf.ClipSegDataPreProcessor'),
    memory=dict(type='mmsvf.MemoryReadFuse', in_channels=[32, 64, 128, 360]),
    train_memory_only=True,
)
train_pipeline = _base_.clip_train_pipeline
test_pipeline = _base_.clip_test_pipeline
tta_pipeline = _base_.clip_tta_pipeline
clips = dict(type='mmsvf.CityscapesClipDataset', offsets=(-9, -6, -3))
train_dataloader = dict(dataset=dict(sequence_path='leftImg8bit_sequence/train', pipeline=train_pipeline, **clips))
val_dataloader = dict(dataset=dict(sequence_path='leftImg8bit_sequence/val', pipeline=test_pipeline, **clips))
test_dataloader = val_dataloader

# 18,600 iterations
train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
