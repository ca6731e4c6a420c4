# Table 6, Initialisation: pre-trained -> random; stage 2
_base_ = ['../svf_cityscapes_vss.py']

load_from = 'work_dirs/svf_cityscapes_random/epoch_300.pth'
