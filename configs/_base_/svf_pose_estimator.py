# SpikeVideoFormer as a regressor of SMPL's pose, shape and translation (App. H): large
model = dict(
    type='mmsvf.VideoPoseEstimator',
    time_steps=8,  # that a single picture is shown for
    data_preprocessor=dict(type='mmsvf.ClipPoseDataPreprocessor', scale=1 / 255),
    backbone=dict(type='mmsvf.SpikeVideoFormer', arch='large', output='tuple'),
    # the user's own file of SMPL's male model, which MMHPSD's annotations are made with
    head=dict(
        type='mmsvf.SMPLHead',
        in_channels=640,
        body='data/smpl/SMPL_MALE.pkl',
        loss=dict(type='mmsvf.SMPLLoss', translation=50.0, pose=10.0, shape=1.0, joints_3d=1.0, joints_2d=10.0),
    ),
)
