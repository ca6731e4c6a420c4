#!/usr/bin/env python
"""The longest clip and the largest frame that fit into a given GPU memory or RAM, in training and in inference.

Nothing is computed: the model runs on tensors without data while the bytes of every live one are added up, at any size.
Counted are parameters, gradients, the config's optimiser and everything autograd keeps; not counted are the workspace
of convolutions, fragmentation and what the device itself takes: leave a tenth for them, more on CPU. Losses and
augmentation are small and left out.

    python tools/analysis/memory_limit.py configs/svf_k400.py --memory 24GB --cfg-options model.backbone.with_cp=True
"""

from __future__ import annotations

import argparse

import torch

from mmsvf.analysis.inputs import describe, guess_shape
from mmsvf.analysis.memory_limit import limits, size
from mmsvf.engine.run_config import add_common_arguments, plain_messages, prepare


def main() -> None:
    """Print the limits as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('--memory', type=size, required=True, help='as 24GB or 80GiB')
    parser.add_argument('--batch', type=int, help="clips per device in training (default: the config's); inference: 1")
    parser.add_argument('--shape', type=int, nargs='+', help="input as C T H W or C H W (default: the test pipeline's)")
    args = parser.parse_args()
    cfg = prepare(args)
    shape = tuple(args.shape or guess_shape(cfg))
    print(
        f'{describe(args.config)}: {" x ".join(map(str, shape))}, {args.memory / 1e9:.4g} GB, fp32, '
        f'torch {torch.__version__}; tensors only, workspace not counted\n'
    )
    print(f'| | batch | peak at this size | frames of a clip of {shape[-2]} x {shape[-1]} | largest square frame |')
    print('|---|---|---|---|---|')
    for limit in limits(cfg, shape, args.memory, args.batch):
        frames = '-' if limit.frames is None else limit.frames
        print(f'| {limit.mode} | {limit.batch} | {limit.used / 1e9:.2f} GB | {frames} | {limit.side} |', flush=True)


if __name__ == '__main__':
    with plain_messages():
        main()
