# As svf_imagenet_t4.py with hard distillation, as in Meta-SpikeFormer's script; the paper trained without (D27).
# The teacher needs timm: pip install --no-deps timm safetensors huggingface-hub
_base_ = ['svf_imagenet_t4.py']

model = dict(
    type='mmsvf.DistilledImageClassifier',
    teacher=dict(type='TimmClassifier', model_name='caformer_b36.sail_in22k_ft_in1k', pretrained=True),
    distillation='hard',
    alpha=0.5,
    head=dict(distilled=True),
)
