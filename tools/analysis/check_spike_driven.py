#!/usr/bin/env python
"""List every synaptic layer whose input is not spikes; exit with 1 if one is unexpected or saw zeros alone.

Expected are the first layer, on the network's real input; what a RepConv has inside, which merges
into one convolution of spikes; and the point-wise convolution behind SepConv's depth-wise one. --allow adds to
them. Without a checkpoint the norms are set so that random input makes the network spike.
"""

from __future__ import annotations

import argparse
import re

from mmsvf.analysis.energy import OperationCounter
from mmsvf.analysis.energy.spike_driven import Finding, find
from mmsvf.analysis.inputs import guess_shape, random_inputs, video_inputs
from mmsvf.analysis.models import NOT_COUNTED, build_model, calibrate_batchnorm, run_model
from mmsvf.engine.run_config import add_common_arguments, plain_messages, prepare, require_file


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument('--video', help='take the frames of this video instead of random input')
    parser.add_argument('--shape', type=int, nargs='+', help="input as C T H W or C H W (default: the test pipeline's)")
    parser.add_argument('--allow', metavar='REGEX', help='further layers that may take real input')
    return parser.parse_args()


def main() -> int:
    """Print the layers; 1 if one is unexpected or silent, else 0."""
    args = parse_args()
    cfg = prepare(args)
    if args.checkpoint is not None:
        require_file(args.checkpoint)
    model, _ = build_model(cfg, args.checkpoint)
    shape = tuple(args.shape or guess_shape(cfg))
    inputs = video_inputs(cfg, model, args.video, shape) if args.video else random_inputs(cfg, shape)
    if args.checkpoint is None:
        calibrate_batchnorm(cfg, model, inputs)
    with OperationCounter(model, ignore=NOT_COUNTED) as counter:
        run_model(cfg, model, inputs)
    layers = counter.layers
    findings = find(layers, model)
    unexpected = [f for f in findings if f.reason is None and not (args.allow and re.search(args.allow, f.layer.name))]
    for finding in findings:
        print(line(finding, finding in unexpected))
    silent = [layer.name for layer in layers if layer.rate == 0]
    if silent:
        print(f'{len(silent)} layers saw zeros alone, so the kind of their input is unknown: {", ".join(silent)}')
    print(
        f'{len(layers)} layers: {len(layers) - len(findings)} on spikes, {len(findings) - len(unexpected)} expected on '
        f'other input, {len(unexpected)} unexpected'
    )
    return 1 if unexpected or silent else 0


def line(finding: Finding, unexpected: bool) -> str:
    """A layer and why it may take what it takes."""
    layer = finding.layer
    reason = 'UNEXPECTED' if unexpected else finding.reason or 'allowed'
    return f'{layer.name}: {layer.signal} input, {layer.macs:.4g} multiply-adds ({reason})'


if __name__ == '__main__':
    with plain_messages():
        raise SystemExit(main())
