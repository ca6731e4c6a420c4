# SpikeVideoFormer, large, on ImageNet-1K with four time steps, from the weights with one (Table 8, App. F; D27).
# Another checkpoint of svf_imagenet_t1.py: --cfg-options load_from=CHECKPOINT
_base_ = ['svf_imagenet_t1.py']

load_from = 'work_dirs/svf_imagenet_t1/epoch_200.pth'
default_hooks = dict(load_report=dict(start='the weights with one step (svf_imagenet_t1.py)'))
model = dict(backbone=dict(time_steps=4))

# the paper's 20 epochs (the script has 50), the script's rates: lr = 2e-5 * 192 / 256, 5 epochs of warm-up
train_cfg = dict(max_epochs=20)
train_dataloader = dict(batch_size=24)
auto_scale_lr = dict(base_batch_size=192)
optim_wrapper = dict(optimizer=dict(lr=1.5e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=15, eta_min=1e-6, by_epoch=True, begin=5, end=20, convert_to_iter_based=True),
]
