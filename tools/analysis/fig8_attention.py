#!/usr/bin/env python
"""Figure 8: what a query token of a clip attends to, as an overlay on the clip's frames.

The scores of the one query with every token are computed, never those of all pairs. Give the query as time step, row
and column in shares of the clip, such as 0.5 0.4 0.3; without it, the middle. The frame of the query is framed, the
token is a cross. OUT is a picture; with it comes an mp4 of the same name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from mmsvf.analysis.attention_map import attention_reads, attention_row
from mmsvf.analysis.inputs import guess_shape, input_pictures, loader_inputs, video_inputs
from mmsvf.analysis.models import build_model, run_model
from mmsvf.engine.run_config import add_common_arguments, prepare, require_file
from mmsvf.visualization.video import write_video


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--video', help="video (default: the first clip of the config's test data)")
    parser.add_argument('--shape', type=int, nargs=4, help="input of the video as C T H W (default: the pipeline's)")
    parser.add_argument('--query', type=float, nargs=3, default=(0.5, 0.5, 0.5), help='time, row, column (0 to 1)')
    parser.add_argument('--layer', help='name of an attention (default: the last; --list names them)')
    parser.add_argument('--head', type=int, help='attention head (default: the mean of all)')
    parser.add_argument('--list', action='store_true', help='list the attentions and stop')
    parser.add_argument('--out', type=Path, default=Path('fig8.png'), help='picture (default: %(default)s)')
    return parser.parse_args()


def overlay(frames: np.ndarray, row: torch.Tensor, query: tuple[int, int, int], side: int = 224) -> list[np.ndarray]:
    """Frames (T, H, W, 3) BGR uint8 with the scores (T, h, w) over them; colours span the scores' range."""
    scores = row.numpy()
    low, high = np.nanmin(scores), np.nanmax(scores)
    height = round(side * frames.shape[1] / frames.shape[2])
    pictures = []
    for t, frame in enumerate(frames):
        frame = cv2.resize(frame, (side, height))
        share = np.nan_to_num((scores[t] - low) / max(float(high - low), 1e-6))
        heat = cv2.resize((255 * share).astype(np.uint8), (side, height), interpolation=cv2.INTER_NEAREST)
        picture = cv2.addWeighted(frame, 0.5, cv2.applyColorMap(heat, cv2.COLORMAP_VIRIDIS), 0.5, 0)
        if t == query[0]:
            point = tuple(
                int((i + 0.5) * size / n) for i, size, n in zip(query[:0:-1], (side, height), scores.shape[:0:-1])
            )
            cv2.drawMarker(picture, point, (255, 255, 255), cv2.MARKER_CROSS, 16, 2)
            cv2.rectangle(picture, (0, 0), (side - 1, height - 1), (255, 255, 255), 3)
        pictures.append(picture)
    return pictures


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
    layer = args.layer or list(reads)[-1]
    row, query = attention_row(model, lambda: run_model(cfg, model, inputs), layer, args.query, args.head)
    steps, height, width = row.shape
    pictures = overlay(input_pictures(cfg, inputs, steps), row, query)  # the spatial design sees one frame at a time
    args.out.parent.mkdir(parents=True, exist_ok=True)
    columns = 8
    blank = np.full_like(pictures[0], 255)
    padded = pictures + [blank] * (-len(pictures) % min(columns, len(pictures)))
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    cv2.imwrite(str(args.out), np.vstack(rows))
    write_video(args.out.with_suffix('.mp4'), pictures, 4)
    print(
        f'{layer}, query {query} of {steps} x {height} x {width}: scores {np.nanmin(row):.3f} to {np.nanmax(row):.3f}'
    )
    print(f'picture: {args.out}, video: {args.out.with_suffix(".mp4")}')


if __name__ == '__main__':
    main()
