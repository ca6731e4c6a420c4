# Table 6, Initialisation: pre-trained -> random
_base_ = ['../svf_mmhpsd_t8.py']

load_from = None
