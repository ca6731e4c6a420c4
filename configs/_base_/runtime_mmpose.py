_base_ = ['runtime.py']

default_scope = 'mmpose'
default_hooks = dict(
    checkpoint=dict(save_best='smpl/PA-MPJPE', rule='less'),
    visualization=dict(type='mmsvf.PoseVideoVisualizationHook', enable=False),
)
visualizer = dict(
    type='PoseLocalVisualizer',
    name='visualizer',  # as mmpose's browse_dataset.py needs it
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
