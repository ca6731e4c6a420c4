# svf_mmhpsd_event_t8.py with the small model (15.5 M in the paper)
_base_ = ['svf_mmhpsd_event_t8.py']

load_from = 'work_dirs/svf_imagenet_t4_small/epoch_20.pth'
model = dict(backbone=dict(arch='small'), head=dict(in_channels=360))
