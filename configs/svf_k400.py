# SpikeVideoFormer, large, on Kinetics-400 (Table 2)
_base_ = ['_base_/svf_recognizer.py', '_base_/kinetics400.py', '_base_/adamw_30e.py', '_base_/runtime_mmaction.py']

# The paper starts from ImageNet-1K weights (without them the other tasks lose 19 to 26 %, Table 6); it does not say
# whether those of svf_imagenet_t1.py or of svf_imagenet_t4.py. Other weights: --cfg-options load_from=CHECKPOINT; none:
# load_from=None
load_from = 'work_dirs/svf_imagenet_t4/epoch_20.pth'
default_hooks = dict(load_report=dict(start='ImageNet-1K weights'))
model = dict(
    # 12 views of 32 frames do not fit most GPUs at once: so many of a batch go through the backbone together
    test_cfg=dict(max_testing_views=4)
)
