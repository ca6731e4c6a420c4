#!/usr/bin/env python
"""Convert checkpoints between the authors' names and ours.

Reads the authors' SpikeVideoFormer and Meta-SpikeFormer files, finds the arch from the shapes, and
writes weights that load_from and init_cfg=dict(type='Pretrained', prefix='backbone.') take. With
--to-official the other way round. Nothing in a file is run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from mmsvf.engine.run_config import plain_messages
from mmsvf.files.checkpoints import load_checkpoint, save_checkpoint
from mmsvf.files.load_report import compare
from mmsvf.files.pickles import UnpicklingError
from mmsvf.models.backbones.spike_video_former import ARCHS, SpikeVideoFormer
from mmsvf.models.official import convert, official_weights, to_official

HEADS = {'mmpretrain': 'head', 'mmaction': 'cls_head'}


def describe(checkpoint: dict[str, Any], weights: dict[str, torch.Tensor]) -> str:
    """What was found, and what a model with either attention score would make of it."""
    settings, converted = checkpoint['meta']['backbone'], checkpoint['state_dict']
    arch, attention = settings['arch'], settings['attention']
    name = next((k for k, v in ARCHS.items() if v == arch), 'not a named one')
    lines = [
        f"the authors' model, arch {name}: embed_dims={arch['embed_dims']}, depths={arch['depths']}, "
        f'in_channels={settings["in_channels"]}',
        f'attention score: {attention["score"]}, told by attn_bn',
        f'space-time design {attention["space_time"]}, heads 8: assumed, a file does not tell them (--space-time)',
    ]
    for key, what in (('head', 'head'), ('head_kd', 'distilled head (head.distilled=True)')):
        if f'{key}.bias' in weights:
            lines.append(f'{what}: {len(weights[f"{key}.bias"])} classes')
    backbone = {k[len('backbone.') :]: v for k, v in converted.items() if k.startswith('backbone.')}
    for target in ('hamming', 'dot'):
        with torch.device('meta'):
            model = SpikeVideoFormer(**{**settings, 'attention': dict(score=target)}, num_heads=1)
        report = compare(model.state_dict(), backbone)
        counts = f'{len(report.loaded)} loaded, {len(report.new)} initialised, {len(report.dropped)} left out'
        lines.append(f"backbone into attention=dict(score='{target}'): {counts}")
        lines += [f'    initialised: {key}' for key in report.new]
        lines += [f'    left out: {key}' for key in report.dropped]
    return '\n'.join(lines)


def run(args: argparse.Namespace) -> None:
    """Convert a file and say what was found.

    Raises:
        ValueError: it is not a checkpoint of the kind that is to be converted.
    """
    checkpoint: Any = load_checkpoint(args.input, 'cpu')
    weights = official_weights(checkpoint)
    if args.to_official:
        if weights is not None:
            raise ValueError("it has the authors' names already")
        state_dict = checkpoint.get('state_dict') if isinstance(checkpoint, dict) else None
        if not isinstance(state_dict, dict):
            raise ValueError("no 'state_dict' in it, so not a checkpoint of OpenMMLab")
        weights = to_official(state_dict)
        save_checkpoint(dict(model=weights), args.output)
    else:
        if weights is None:
            found = (
                ', '.join(map(str, list(checkpoint)[:4])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
            )
            raise ValueError(
                "not a checkpoint of the authors' SpikeVideoFormer or Meta-SpikeFormer: no "
                f"downsample1_1.encode_conv.weight under 'model', 'state_dict' or at the top; found {found}"
            )
        converted = convert(weights, HEADS[args.framework], args.space_time)
        save_checkpoint(converted, args.output)
        print(describe(converted, weights))
        dropped = (
            [k for k in checkpoint if k not in ('model', 'state_dict')] if weights.keys() != checkpoint.keys() else []
        )
        print(f'left out of the file: {", ".join(map(str, dropped)) or "nothing"}')
    print(f'{len(weights)} tensors written to {args.output}')


def main() -> None:
    """Read the command line and convert; an error is a line and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', metavar='IN', type=Path, help='checkpoint to read')
    parser.add_argument('output', metavar='OUT', type=Path, help='checkpoint to write')
    parser.add_argument('--to-official', action='store_true', help="from our names to the authors'")
    parser.add_argument(
        '--framework',
        choices=sorted(HEADS),
        default='mmpretrain',
        help='whose classifier the head is for; the backbone is the same (default: %(default)s)',
    )
    parser.add_argument(
        '--space-time',
        choices=('joint', 'neuron'),
        help='design written to meta.backbone (default: joint for Hamming, neuron for dot product, as the authors)',
    )
    args = parser.parse_args()
    try:
        run(args)
    except (OSError, ValueError, UnpicklingError) as error:
        parser.exit(1, f'error: {args.input}: {error}\nnothing was written\n')


if __name__ == '__main__':
    with plain_messages():
        main()
