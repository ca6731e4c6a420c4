_base_ = ['runtime.py']

default_scope = 'mmseg'
default_hooks = dict(
    checkpoint=dict(save_best='mIoU'), visualization=dict(type='SegVisualizationHook', draw=False, interval=1)
)
visualizer = dict(
    type='mmsvf.SegVideoVisualizer',
    name='visualizer',  # browse_dataset.py wants one
    alpha=0.5,
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
