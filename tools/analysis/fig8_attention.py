#!/usr/bin/env python
"""Figure 8: what a query token of a clip attends to, as an overlay on the clip's frames.

The scores of the one query with every token are computed, never those of all pairs. Give the query as time step, row
and column in shares of the clip, such as 0.5 0.4 0.3; without it, it is the token of the middle step that has the most
spikes. The frame of the query is framed, the token is a cross. Colours span the scores' own range, as the colour bar
says. A token is 16 x 16 pixels of the input: --scale 4 shows the network the clip four times as large, and so has 16
times as many tokens (objects are then larger than in training). OUT is a picture (.png, .pdf, .svg); with it comes an
mp4 of the same name.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.nn import functional

from mmsvf.analysis.attention_map import attention_reads, attention_row
from mmsvf.analysis.inputs import guess_shape, input_pictures, loader_inputs, video_inputs
from mmsvf.analysis.models import build_model, run_model
from mmsvf.engine.run_config import add_common_arguments, picture_file, plain_messages, prepare, require_file
from mmsvf.spiking.memory import MemoryRead
from mmsvf.visualization.attention_figure import clip_pictures, draw_clip
from mmsvf.visualization.video import write_video


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--video', help="video (default: the first clip of the config's test data)")
    parser.add_argument('--shape', type=int, nargs=4, help="input of the video as C T H W (default: the pipeline's)")
    parser.add_argument('--query', type=float, nargs=3, help='time, row, column (0 to 1; default: most spikes)')
    parser.add_argument('--layer', help='name of an attention (default: the last; --list names them)')
    parser.add_argument('--head', type=int, help='attention head (default: the mean of all)')
    parser.add_argument('--scale', type=float, default=1, help='enlarge the input so many times, for finer tokens')
    parser.add_argument('--list', action='store_true', help='list the attentions and stop')
    parser.add_argument('--out', type=picture_file, default='fig8.png', help='picture (default: %(default)s)')
    return parser.parse_args()


def enlarged(inputs: torch.Tensor, scale: float) -> torch.Tensor:
    """An input (..., H, W), its height and width multiplied."""
    if scale == 1:
        return inputs
    flat = functional.interpolate(inputs.float().flatten(0, -3)[None], scale_factor=scale, mode='bilinear')
    return flat.view(*inputs.shape[:-2], *flat.shape[-2:]).to(inputs)


def main() -> None:
    """List the attentions, or draw one."""
    args = parse_args()
    cfg = prepare(args)
    require_file(args.checkpoint)
    model, _ = build_model(cfg, args.checkpoint)
    reads = attention_reads(model)
    if args.list:
        print('\n'.join(f'{name}: {read.tokens}, {read.score}, {read.num_heads} heads' for name, read in reads.items()))
        return
    if args.video:
        inputs = video_inputs(cfg, model, args.video, args.shape or guess_shape(cfg))
    else:
        inputs = next(loader_inputs(cfg, model, 1))
    inputs = enlarged(inputs, args.scale)
    layer = args.layer or list(reads)[-1]
    row = attention_row(model, lambda: run_model(cfg, model, inputs), layer, args.query, args.head)
    if isinstance(model.get_submodule(layer.rpartition('.')[0]), MemoryRead):  # the query is of the last frame
        padded = torch.cat([row.scores, torch.full_like(row.scores[:1], float('nan'))])
        row = row._replace(scores=padded, query=(len(row.scores), *row.query[1:]))
    steps, height, width = row.scores.shape
    frames = input_pictures(cfg, inputs, steps)[..., ::-1]  # the spatial design sees one frame at a time
    scores = row.scores.numpy()
    label = 'Hamming similarity' if reads[layer].score == 'hamming' else 'share of common spikes'
    heads = 'mean of all heads' if args.head is None else f'head {args.head}'
    t, y, x = row.query
    grid = f'{steps} x {height} x {width}'
    title = f'{layer}, {heads}: scores of the token t = {t + 1}, row {y + 1}, column {x + 1} of {grid}'
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_clip(frames, scores, row.query, title, label, row.remark()).savefig(args.out, dpi=120)
    video = args.out.with_suffix('.mp4')
    write_video(video, clip_pictures(frames, scores, row.query, label, row.remark()), 4)
    low, high = np.nanmin(scores), np.nanmax(scores)
    print(
        f'{layer}, query {row.query} of {grid}: scores {low:.3f} to {high:.3f}; {row.query_rate:.1%} of the query, '
        f'{row.key_rate:.1%} of the keys spike'
    )
    if row.remark():
        print(row.remark())
    print(f'picture: {args.out}, video: {video}')


if __name__ == '__main__':
    with plain_messages():
        main()
