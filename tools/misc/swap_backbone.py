#!/usr/bin/env python
"""Write an OpenMMLab config with SpikeVideoFormer, or another backbone of mmsvf, in the place of its own.

Channels, levels and sizes that necks and heads expect are set to what the backbone delivers; data, losses and schedule
stay. The command line that does the same without a file is printed. Then an input goes through the new model.

    python tools/misc/swap_backbone.py mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py my_fcn.py --arch small
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmengine.config import Config

from mmsvf.engine.run_config import config_path, load_config, plain_messages
from mmsvf.files.config_options import OptionsAction
from mmsvf.swapping.swap import swap
from mmsvf.swapping.written import check, command_line, config_text

BACKBONES = ('SpikeVideoFormer', 'STAtten', 'Spikformer', 'SEWResNet', 'MSResNet')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or one of an installed framework, as mmseg::fcn/...py')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument('--backbone', choices=BACKBONES, default=BACKBONES[0], help='default: %(default)s')
    parser.add_argument(
        '--arch', help="of the backbone (default: 'small' of SpikeVideoFormer, 55 to 78 M of the others)"
    )
    parser.add_argument(
        '--backbone-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help='further arguments of the backbone, as time_steps=4 attention.score=dot, or widths and depths in place of '
        '--arch: arch.embed_dims=[16,32,48,64,64] arch.depths=[1,1,1,1,1]',
    )
    parser.add_argument('--force', action='store_true', help='write OUT where a file of that name is')
    parser.add_argument('--no-check', action='store_true', help='send no input through the new model')
    return parser.parse_args()


def main() -> None:
    """Write the config, and send an input through its model."""
    args = parse_args()
    try:
        cfg = load_config(args.config)
        options = Config({})
        options.merge_from_dict(args.backbone_options)  # attention.score=dot is an option of an option
        further = options.to_dict()
        change = swap(cfg, further.pop('arch', args.arch), args.backbone, **further)
    except (OSError, ImportError, ValueError) as error:
        raise SystemExit(f'{args.config}: {error}') from error
    if args.out.exists() and '::' not in args.config and args.out.samefile(config_path(args.config)):
        raise SystemExit(f'{args.out} is CONFIG itself, which the new file inherits from; give another name')
    if args.out.exists() and not args.force:
        raise SystemExit(f'{args.out} is there already; give another name, or --force to replace it')
    base = args.config if '::' in args.config else os.path.relpath(config_path(args.config), args.out.parent)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(config_text(base, cfg, change), encoding='utf-8')
    for note in change.notes:
        print(f'- {note}')
    print(f'\n{args.out} is written: python tools/train.py {args.out}\nor, without a file:\n')
    print(f'python tools/train.py {args.config} --cfg-options {command_line(change.options)}\n')
    if not args.no_check:
        print(check(Config.fromfile(args.out)))


if __name__ == '__main__':
    with plain_messages():
        main()
