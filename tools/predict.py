#!/usr/bin/env python
"""See what a trained model says of videos: actions, segmentation or pose, by the task of the config.

SOURCE is a video, a folder of pictures, of videos or of both, a pattern such as 'clips/*.mp4', a list of these
(.txt, one a line), a .npz of events or an action of the data set (pose). Of each, OUT gets

    NAME.mp4     the prediction drawn over the frames, as H.264 that browsers play
    NAME.jsonl   a line a frame (of a pose: a time step)
    NAME.png     a sheet of frames
    NAME.npz     a pose's arrays

and a line in OUT/sources.jsonl. The same command again goes on where it was stopped. docs/predict.md has more.
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mmsvf.apis.find_sources import find_sources
from mmsvf.apis.live import Window
from mmsvf.apis.person import PersonChooser, mmdet_detector
from mmsvf.apis.prediction_folder import Folder, predict_cameras, predict_sources
from mmsvf.apis.predictor import Predictor
from mmsvf.apis.sources import Camera
from mmsvf.engine.allocator import return_freed_memory
from mmsvf.engine.run_config import above_zero, add_common_arguments, contents, plain_messages, prepare, require_file


def parse_args() -> argparse.Namespace:
    """The flags of all tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('source', nargs='*', help='what to predict')
    parser.add_argument(
        '--camera', type=int, action='append', metavar='N', help='predict from camera N, until Ctrl-C; may be repeated'
    )
    parser.add_argument('--out', type=Path, metavar='DIR', help='results (default: work_dirs/CONFIG/predictions)')
    parser.add_argument('--overwrite', action='store_true', help='predict anew what is done in OUT')
    parser.add_argument('--show', action='store_true', help='also show the pictures in a window')
    parser.add_argument('--no-video', action='store_true', help='write no .mp4')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU if there is one)')
    parser.add_argument(
        '--fuse', action=argparse.BooleanOptionalAction, default=True, help='the exact inference form, which is faster'
    )
    parser.add_argument(
        '--engine', choices=['dense', 'events'], default='dense', help='with --fuse: events is faster on a CPU'
    )
    parser.add_argument('--classes', metavar='FILE', help='names of the classes, one a line')
    parser.add_argument('--fps', type=above_zero, default=25, help='of folders of pictures (default: %(default)s)')
    parser.add_argument(
        '--window', type=float, help="seconds of an action's window, 0: the whole video (default: 10; of a camera: 2); "
        "time steps of a pose's (default: as tested)"
    )  # fmt: skip
    parser.add_argument('--overlap', type=float, help='share of a window seen twice (default: 0.5)')
    parser.add_argument('--windows', action='store_true', help='have a model see windows that could go frame by frame')
    parser.add_argument('--batch-size', type=int, help='segmentation: frames at a time (default: 1)')
    parser.add_argument('--masks', action='store_true', help='segmentation: write the label maps, OUT/NAME/000000.png')
    parser.add_argument(
        '--step', type=above_zero, help="pose: seconds between time steps (default: the test data set's)"
    )
    parser.add_argument('--bbox', type=float, nargs=4, metavar=('X', 'Y', 'W', 'H'), help='pose: the person, in pixels')
    parser.add_argument('--det-config', help='pose: config of a detector of mmdetection, whose largest person is taken')
    parser.add_argument('--det-checkpoint', help='pose: its checkpoint')
    args = parser.parse_intermixed_args()  # sources before flags, or after them
    if bool(args.source) == (args.camera is not None):
        parser.error('give a SOURCE, or --camera N')
    if args.camera is not None and len(set(args.camera)) < len(args.camera):
        parser.error(f'--camera {" ".join(map(str, args.camera))}: each but once')
    if args.show and len(args.camera or ()) > 1:
        parser.error('--show has one window, for one --camera')
    if bool(args.det_config) != bool(args.det_checkpoint):
        parser.error('--det-config and --det-checkpoint go together')
    return args


# flags of a task, by the names that its predictor has for them
OPTIONS = dict(mmaction=('window', 'overlap'), mmseg=('batch_size',), mmpose=('window', 'overlap', 'step'))
FLAGS = dict(mmseg=('masks',), mmpose=('bbox', 'det_config'), mmaction=())


def task_options(args: argparse.Namespace, scope: str) -> dict[str, Any]:
    """Options of the task's predictor.

    Raises:
        ValueError: a flag of another task.
    """
    for other, names in {task: (*OPTIONS[task], *FLAGS[task]) for task in OPTIONS}.items():
        for name in names:
            if getattr(args, name) and other != scope and name not in (*OPTIONS[scope], *FLAGS[scope]):
                raise ValueError(f'--{name.replace("_", "-")} is for configs of {other}; this one is of {scope}')
    options = {name: getattr(args, name) for name in OPTIONS[scope] if getattr(args, name) is not None}
    options['windows'] = args.windows
    if scope == 'mmaction' and args.camera is not None:
        options.setdefault('window', 2.0)
    if scope == 'mmpose':
        if args.window is not None:
            options['window'] = int(args.window)
        detector = None
        if args.det_config:
            require_file(args.det_checkpoint, '--det-checkpoint ')
            detector = mmdet_detector(args.det_config, args.det_checkpoint, args.device or 'cpu')
        options['person'] = PersonChooser(args.bbox, detector)
    return options


# what predictions do not depend on
APART = ('source', 'out', 'overwrite', 'show', 'device', 'work_dir', 'launcher', 'local_rank', 'camera', 'batch_size')


def main() -> None:
    """Predict each source and say which could not be read."""
    args = parse_args()
    return_freed_memory()  # of large frames: what lay between freed tensors grew to a tenth of the peak
    missing: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is half written is taken away
    with plain_messages():
        cfg = prepare(args)
        content = contents(cfg, checkpoint=args.checkpoint, classes=args.classes)
        scope = cfg.get('default_scope')
        options = task_options(args, scope) if scope in OPTIONS else {}
        window = Window() if args.show else None
        predictor = Predictor.from_config(
            cfg, args.checkpoint, args.device, args.fuse, args.classes, args.engine, **options
        )
        out = args.out or Path(cfg.work_dir) / 'predictions'
        if args.camera is not None:
            cameras = [Camera(number) for number in args.camera]

            def stop(*_: object) -> None:  # the files are ended, not broken off
                for camera in cameras:
                    camera.stop()

            signal.signal(signal.SIGINT, stop)
            begin = time.strftime('%Y%m%d-%H%M%S')  # no recording takes the place of an earlier one
            sources: dict[str, Any] = {f'{camera.name}-{begin}': camera for camera in cameras}
        else:
            sources = dict(find_sources(args.source, predictor.takes, missing, out))
        chosen = {name: getattr(predictor, name) for name in OPTIONS.get(scope, ())}  # a default is what it stands for
        run = {key: str(value) for key, value in {**vars(args), **chosen}.items() if key not in APART}
        folder = Folder(out, {**run, **content}, args.overwrite)
        folder.claim(sources, args.masks)
    written: dict[str, Any] = dict(show=window, video=not args.no_video, masks=args.masks)
    if args.camera is not None:
        unreadable = predict_cameras(predictor, sources, folder, **written)
    else:
        unreadable = predict_sources(predictor, sources, folder, args.fps, **written)
    done, unreadable = len(sources) - len(unreadable), missing + unreadable
    print(f'{done} of {done + len(unreadable)} sources are in {out}')
    if unreadable:
        print(f'{len(unreadable)} could not be read and were skipped:', *unreadable, sep='\n  ')
    if not done:
        sys.exit(1)


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        print('stopped; the same command goes on with the sources that are not done', file=sys.stderr)
        sys.exit(130)
