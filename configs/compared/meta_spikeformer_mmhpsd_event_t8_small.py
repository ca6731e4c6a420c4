# Table 3, events: meta_spikeformer_mmhpsd_t8_small.py on 8 steps of 3 binary frames
_base_ = ['meta_spikeformer_mmhpsd_t8_small.py']

model = dict(data_preprocessor=dict(scale=1.0))
train_dataloader = dict(dataset=dict(modality='events'))
val_dataloader = dict(dataset=dict(modality='events'))
test_dataloader = dict(dataset=dict(modality='events'))
