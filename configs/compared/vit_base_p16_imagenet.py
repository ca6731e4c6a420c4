# Table 8, without spikes: ViT-B/16, on the data and schedule of our row
_base_ = ['../svf_imagenet_t1.py']

model = dict(
    backbone=dict(_delete_=True, type='VisionTransformer', arch='b', img_size=224, patch_size=16, drop_rate=0.1),
    head=dict(type='VisionTransformerClsHead', in_channels=768),
)
