_base_ = ['runtime.py']

default_scope = 'mmaction'
default_hooks = dict(visualization=dict(type='mmsvf.VideoVisualizationHook'))
visualizer = dict(
    type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
)
