# The embedded default for human pose, from events
_base_ = ['svf_moving_body.py']

model = dict(data_preprocessor=dict(scale=1.0))
train_dataloader = dict(dataset=dict(modality='events'))
val_dataloader = dict(dataset=dict(modality='events'))
test_dataloader = val_dataloader
