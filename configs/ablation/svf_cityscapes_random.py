# Table 6, Initialisation: pre-trained -> random
_base_ = ['../svf_cityscapes.py']

load_from = None
