"""Where ``track_pose`` stood before :mod:`mmsvf.apis.pose_predictor`; this name goes with the next release."""

import warnings

from .pose_predictor import track_pose

__all__ = ['track_pose']
warnings.warn('mmsvf.apis.pose_tracking is mmsvf.apis.pose_predictor now', DeprecationWarning, stacklevel=2)
