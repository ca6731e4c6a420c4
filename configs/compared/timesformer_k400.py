# Table 2, without spikes: in the place of ViViT-L, which OpenMMLab lacks, its TimeSformer with joint space-time softmax
# attention (8 frames, ViT-B), with its own recipe
_base_ = ['mmaction::recognition/timesformer/timesformer_jointST_8xb8-8x32x1-15e_kinetics400-rgb.py']

custom_imports = dict(imports=['mmsvf'], allow_failed_imports=False)
default_hooks = dict(visualization=dict(type='mmsvf.VideoVisualizationHook'))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
