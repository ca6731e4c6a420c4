# Table 4: Spikformer, 8-512, stage 2 on clips, the memory read by dot product, too
_base_ = ['spikformer_8_512_cityscapes.py']

load_from = 'work_dirs/spikformer_8_512_cityscapes/epoch_300.pth'
model = dict(
    type='mmsvf.ClipEncoderDecoder',
    data_preprocessor=dict(type='mmsvf.ClipSegDataPreProcessor'),
    memory=dict(type='mmsvf.MemoryReadFuse', in_channels=[64, 128, 256, 512], score='dot'),
    train_memory_only=True,
)
train_pipeline = _base_.clip_train_pipeline
test_pipeline = _base_.clip_test_pipeline
tta_pipeline = _base_.clip_tta_pipeline
clips = dict(type='mmsvf.CityscapesClipDataset', offsets=(-9, -6, -3))
train_dataloader = dict(dataset=dict(sequence_path='leftImg8bit_sequence/train', pipeline=train_pipeline, **clips))
val_dataloader = dict(dataset=dict(sequence_path='leftImg8bit_sequence/val', pipeline=test_pipeline, **clips))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
