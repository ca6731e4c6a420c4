_base_ = ['runtime.py']

default_scope = 'mmseg'
default_hooks = dict(
    checkpoint=dict(save_best='mIoU'), visualization=dict(type='mmsvf.SegVideoVisualizationHook', draw=False)
)
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
)
