# Human pose tracking on MMHPSD from events, 8 steps of 3 binary frames, large (Table 3, App. H)
_base_ = ['svf_mmhpsd_t8.py']

model = dict(data_preprocessor=dict(scale=1.0))
train_dataloader = dict(dataset=dict(modality='events'))
val_dataloader = dict(dataset=dict(modality='events'))
test_dataloader = dict(dataset=dict(modality='events'))
