# Human pose tracking on MMHPSD from grey frames, 32 steps, large (Table 3, App. H); tested on 8 seconds (D7)
_base_ = ['svf_mmhpsd_t8.py']

model = dict(time_steps=32)
train_dataloader = dict(batch_size=1, dataset=dict(time_steps=32, durations=(4, 8, 16, 32)))
val_dataloader = dict(batch_size=1, dataset=dict(time_steps=32, durations=(8,)))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=20)
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = dict(T_max=25)
