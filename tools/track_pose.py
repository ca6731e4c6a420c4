#!/usr/bin/env python
"""Track a body through a video of any length: OUT.npz, and its skeleton over the frames as OUT.mp4 and OUT.png.

INPUT is a video, a folder of pictures, a .npz of events (x, y of 256 x 256 pixels, t in microseconds),
or the name of an action of the config's data set (subjectNN_groupG_timeK), whose errors are printed.
The .npz has, for T steps and the 24 joints named in joint_names: joints_3d (T, 24, 3), translation
(T, 3) in metres, joints_2d (T, 24, 2) in pixels of 256 x 256, pose (T, 24, 3) as axis-angle in radians,
shape (T, 10), and times (T,) in seconds. The camera looks along z; x is right and y down.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from mmsvf.apis.pose_tracking import read_clip, track_pose
from mmsvf.body import JOINTS, errors
from mmsvf.engine.run_config import add_common_arguments, prepare, require_file
from mmsvf.registry import MODELS
from mmsvf.visualization.skeleton import pose_row, sheet
from mmsvf.visualization.video import write_video


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('input', help='video, folder of pictures, .npz of events, or action of the data set')
    parser.add_argument('--out', type=Path, help='result without suffix (default: work_dirs/CONFIG/tracks/INPUT)')
    parser.add_argument('--step', type=float, help="seconds between time steps (default: the test data set's)")
    parser.add_argument('--window', type=int, help="time steps of a window (default: the test data set's)")
    parser.add_argument(
        '--overlap', type=float, default=0.5, help='share of a window seen twice (default: %(default)s)'
    )
    parser.add_argument('--fps', type=float, default=15, help='of a folder of pictures (default: %(default)s)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU if there is one)')
    return parser.parse_args()


def main() -> None:
    """Track, write the files, and print the errors where the truth is known."""
    args = parse_args()
    cfg = prepare(args)
    require_file(args.checkpoint)
    data = cfg.test_dataloader.dataset
    step = args.step or data.durations[0] / data.time_steps
    clip = read_clip(args.input, data.modality, step, data.data_root, args.fps)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, args.checkpoint, map_location='cpu')
    model.to(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    pipeline = [transform for transform in data.pipeline if not transform.type.endswith('PackPoseClip')]
    track = track_pose(model, clip.pictures, args.window or data.time_steps, args.overlap, data.modality, pipeline)
    out = args.out or Path(cfg.work_dir) / 'tracks' / Path(args.input).stem
    out.parent.mkdir(parents=True, exist_ok=True)
    times = clip.step * np.arange(len(clip.pictures))
    np.savez(f'{out}.npz', **track, times=times, joint_names=np.array(JOINTS))
    sides = [track['joints_3d']] if clip.truth is None else [track['joints_3d'], clip.truth]
    rows = [pose_row(p, track['joints_2d'][t], *(s[t] for s in sides)) for t, p in enumerate(clip.pictures)]
    write_video(f'{out}.mp4', rows, 1 / clip.step)
    cv2.imwrite(f'{out}.png', sheet(rows))
    print(f'{len(times)} steps of {clip.step:.3f} s: {out}.npz, {out}.mp4, {out}.png')
    if clip.truth is not None:
        joints, truth = (torch.from_numpy(x).double() for x in (track['joints_3d'], clip.truth))
        names = (('MPJPE', errors.mpjpe), ('PEL-MPJPE', errors.pel_mpjpe), ('PA-MPJPE', errors.pa_mpjpe))
        print(', '.join(f'{name} {1000 * error(joints, truth).mean():.1f} mm' for name, error in names))


if __name__ == '__main__':
    main()
