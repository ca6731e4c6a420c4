#!/usr/bin/env python
"""Write an OpenMMLab config with SpikeVideoFormer, or another backbone of mmsvf, in the place of its own.

Channels, levels and sizes that necks and heads expect are set to what the backbone delivers; data, losses and schedule
stay. The command line that does the same without a file is printed. Then an input goes through the new model.

    python tools/misc/swap_backbone.py mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py my_fcn.py --arch small
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction

from mmsvf.apis import analysis
from mmsvf.apis.swap import Swap, swap
from mmsvf.engine.launch import config_path, load_config

BACKBONES = ('SpikeVideoFormer', 'STAtten', 'Spikformer', 'SEWResNet', 'MSResNet')


def parse_args() -> argparse.Namespace:
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
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='further arguments of the backbone, as time_steps=4 attention.score=dot',
    )
    parser.add_argument('--no-check', action='store_true', help='send no input through the new model')
    return parser.parse_args()


def argument(value: Any) -> str:
    """A value as --cfg-options reads it."""
    if isinstance(value, (list, tuple)):
        return f'[{",".join(map(argument, value))}]'
    return str(value)


def command_line(options: dict[str, Any]) -> str:
    """The options as they are typed after --cfg-options."""
    return ' '.join(shlex.quote(f'{key}={argument(value)}') for key, value in options.items())


def config_text(base: str, cfg: Config, change: Swap) -> str:
    """The new config file: its base, and what is changed; of a list a file cannot change a part, so it has all."""
    changed: dict[str, Any] = {}
    result = change.apply(cfg)
    for key, value in change.options.items():
        parts = key.split('.')
        node, whole = changed, result
        for part, following in zip(parts, [*parts[1:], ''], strict=True):
            whole = None if part == '_delete_' else whole[part]
            if following == '' or isinstance(whole, (list, tuple)):
                node[part] = value if following == '' else whole
                break
            node = node.setdefault(part, {})
    old = cfg.get('custom_imports') or {}
    imports = old.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    changed['custom_imports'] = dict(imports=[*imports, 'mmsvf'], allow_failed_imports=False)
    return f'_base_ = {base!r}\n\n{Config(changed).pretty_text}'


def check(cfg: Config) -> str:
    """Send an input of the config's size through the model; says what came of it."""
    model: Any = analysis.build_model(cfg)[0]
    shape = analysis.guess_shape(cfg)
    inputs, size = analysis.random_inputs(cfg, shape), ' x '.join(map(str, shape))
    with torch.no_grad():
        if cfg.default_scope == 'mmdet':  # its heads want annotations, or operators of the compiled mmcv
            levels = model.extract_feat(inputs)
            sizes = ', '.join(' x '.join(map(str, level.shape[1:])) for level in levels)
            return f'checked: of an input of {size} the heads get feature maps of {sizes}'
        analysis.run_model(cfg, model, inputs)
    return f'checked: an input of {size} goes through the new model'


def main() -> None:
    args = parse_args()
    try:
        cfg = load_config(args.config)
        change = swap(cfg, args.arch, args.backbone, **args.backbone_options)
    except (OSError, ImportError, ValueError) as error:
        raise SystemExit(f'{args.config}: {error}') from error
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
    main()
