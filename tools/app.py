#!/usr/bin/env python
"""A page on this machine, in a browser: pick a sample or upload a video, and see what a model says and does.

It shows the prediction, the spikes of each stage and time step, the attention from a point that is clicked, and the
energy beside that of the same network without spikes. It offers the demo checkpoints, and with --config and
--checkpoint a model of your own. Only this machine can open it unless --host says otherwise; uploads and results are
removed at the end.
docs/app.md has more.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

from mmsvf.app.demos import DemoModel, demo_models, load_predictor
from mmsvf.app.guard import is_local
from mmsvf.app.runs import Limits
from mmsvf.app.samples import make_samples
from mmsvf.app.server import DemoApp, serve
from mmsvf.engine.environment import check_environment
from mmsvf.engine.run_config import load_config
from mmsvf.files.config_options import OptionsAction, merge_options

ROOT = Path(__file__).resolve().parent.parent


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help='config of your own model; actions, segmentation or pose')
    parser.add_argument('--checkpoint', help='its checkpoint, a file or URL')
    parser.add_argument('--classes', metavar='FILE', help='names of its classes, one a line')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, metavar='KEY=VALUE', help='override its config'
    )
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU if there is one)')
    parser.add_argument('--host', default='localhost', help='name or address to listen on (default: %(default)s)')
    parser.add_argument('--port', type=int, default=7860, help='0 takes any that is free (default: %(default)s)')
    parser.add_argument('--max-upload', type=float, default=100, metavar='MB', help='of a file (default: %(default)s)')
    parser.add_argument(
        '--max-seconds', type=float, default=30, metavar='S', help='of a video are looked at (default: %(default)s)'
    )
    parser.add_argument(
        '--max-side',
        type=int,
        default=640,
        metavar='PIXELS',
        help='larger frames are made smaller (default: %(default)s)',
    )
    parser.add_argument(
        '--samples',
        type=Path,
        default=Path('data', 'app'),
        help='sample videos, made if missing (default: %(default)s)',
    )
    args = parser.parse_args()
    if bool(args.config) != bool(args.checkpoint):
        parser.error('--config and --checkpoint go together')
    if not args.config and (args.classes or args.cfg_options):
        parser.error('--classes and --cfg-options are for a model of your own, with --config and --checkpoint')
    for name in ('max_upload', 'max_seconds', 'max_side'):
        if not getattr(args, name) > 0:
            parser.error(f'--{name.replace("_", "-")} {getattr(args, name):g}: more than 0 expected')
    return args


def own_model(args: argparse.Namespace) -> DemoModel:
    """The user's model, loaded, so that what is wrong with it is said here."""
    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options or {})
    load = partial(load_predictor, cfg, args.checkpoint, args.device, args.classes)
    model = DemoModel('own', Path(args.config).stem, f'{args.config}, {Path(args.checkpoint).name}.', None, load)
    model.predictor  # noqa: B018
    return model


def main() -> None:
    """Serve until Ctrl-C."""
    args = parse_args()
    check_environment()
    try:
        models = [own_model(args)] if args.config else []
    except (ValueError, OSError, ImportError, UnpicklingError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from None
    models += demo_models(ROOT, args.device)
    samples = make_samples(ROOT / 'tools' / 'dataset_converters', args.samples)
    for name in ('SIGTERM', 'SIGHUP'):  # what is to be removed is removed then, too; Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(0))
    limits = Limits(args.max_seconds, args.max_side)
    with DemoApp(models, samples, args.host, round(args.max_upload * 1e6), limits) as app:
        try:
            server = serve(app, args.host, args.port)
        except OSError as error:
            raise SystemExit(f'OSError: {error}') from None
        if not is_local(args.host):
            print(f'--host {args.host}: whoever reaches this machine can open the page, and use the device')
        everywhere = args.host in ('0.0.0.0', '::')  # of which no browser knows the way
        name = 'localhost' if everywhere else f'[{args.host}]' if ':' in args.host else args.host
        print(f'open http://{name}:{server.server_port}/ in a browser; Ctrl-C ends', flush=True)
        server.serve_forever()


if __name__ == '__main__':
    main()
