#!/usr/bin/env python
"""Track a body through one source: OUT.npz, and its skeleton over the frames as OUT.mp4 and OUT.png.

The same as `tools/predict.py` with a config of a pose, for one INPUT, by its former flags and names of files.
INPUT is a video, a folder of pictures, a .npz of events (x, y of 256 x 256 pixels, t in microseconds),
or the name of an action of the config's data set (subjectNN_groupG_timeK), whose errors are printed.
The .npz has, for T steps and the 24 joints named in joint_names: joints_3d (T, 24, 3), translation
(T, 3) in metres, joints_2d (T, 24, 2) in pixels of 256 x 256, pose (T, 24, 3) as axis-angle in radians,
shape (T, 10), and times (T,) in seconds. The camera looks along z; x is right and y down.
"""

import argparse
from pathlib import Path

from mmsvf.apis.pose_predictor import PosePredictor
from mmsvf.apis.prediction_files import write_predictions
from mmsvf.apis.prediction_folder import keep_apart
from mmsvf.engine.run_config import above_zero, add_common_arguments, plain_messages, prepare


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('input', help='video, folder of pictures, .npz of events, or action of the data set')
    parser.add_argument('--out', type=Path, help='result without suffix (default: work_dirs/CONFIG/tracks/INPUT)')
    parser.add_argument('--step', type=above_zero, help="seconds between time steps (default: the test data set's)")
    parser.add_argument('--window', type=int, help="time steps of a window (default: the test data set's)")
    parser.add_argument('--overlap', type=float, help='share of a window seen twice (default: 0.5)')
    parser.add_argument('--fps', type=above_zero, default=15, help='of a folder of pictures (default: %(default)s)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU if there is one)')
    return parser.parse_args()


def main() -> None:
    """Track, write the files, and print the errors where the truth is known."""
    args = parse_args()
    cfg = prepare(args)
    options = dict(step=args.step, window=args.window, overlap=args.overlap)
    predictor = PosePredictor.from_config(cfg, args.checkpoint, args.device, fuse=False, **options)
    out = args.out or Path(cfg.work_dir) / 'tracks' / Path(args.input).stem
    keep_apart(out.parent, {out.name: args.input})
    source = predictor.open(args.input, args.fps)
    said = write_predictions(predictor, source, out)
    step = 1 / predictor.output_fps(source)
    print(f'{said["records"]} steps of {step:.3f} s: {out}.npz, {out}.mp4, {out}.png')
    if 'errors' in said:
        print(', '.join(f'{name} {value:.1f} mm' for name, value in said['errors'].items()))


if __name__ == '__main__':
    with plain_messages():
        main()
