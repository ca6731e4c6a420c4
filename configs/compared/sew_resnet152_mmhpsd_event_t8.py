# Table 3, events: sew_resnet152_mmhpsd_t8.py on 8 steps of 3 binary frames
_base_ = ['sew_resnet152_mmhpsd_t8.py']

model = dict(data_preprocessor=dict(scale=1.0))
train_dataloader = dict(dataset=dict(modality='events'))
val_dataloader = dict(dataset=dict(modality='events'))
test_dataloader = dict(dataset=dict(modality='events'))
