"""Inputs of a config's model for analysis: of its test data, of a video, or random ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor, nn

from mmsvf.datasets.reading import open_video

from .models import data_samples


def guess_shape(cfg: Config) -> tuple[int, ...]:
    """Shape of an input (C, [T,] H, W) by the test pipeline's last size and, of clips, its number of frames.

    Raises:
        ValueError: the pipeline has no size; the message has the flag to give.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or cfg.get('train_dataloader') or {}
    dataset = loader.get('dataset', {})
    size, frames = None, dataset.get('time_steps')
    if dataset.get('offsets'):
        frames = len(dataset.offsets) + 1
    codec = cfg.get('codec')  # of mmpose, one or several
    codecs = [codec] if isinstance(codec, dict) else []
    for step in [*_transforms(dataset.get('pipeline', [])), *codecs]:
        value = step.get('crop_size') or step.get('size') or step.get('scale') or step.get('input_size')
        if isinstance(value, int):
            size = (value, value)
        elif isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value):
            size = tuple(value) if step.get('type', '').endswith('Crop') or 'crop_size' in step else tuple(value)[::-1]
        frames = step.get('clip_len', frames) if step.get('clip_len', 0) != 1 else step.get('num_clips', frames)
    if size is None and dataset.get('type', '').endswith('MMHPSDDataset'):
        size = (256, 256)
    if size is None:
        raise ValueError('the test pipeline does not say the size of an input: give it, as --shape 3 224 224')
    channels = cfg.model.get('backbone', {}).get('in_channels', 3)
    clip = frames and cfg.get('default_scope') in ('mmaction', 'mmpose', 'mmseg') and _takes_clips(cfg)
    return (channels, frames, *size) if clip else (channels, *size)


def _transforms(pipeline: Sequence[Any]) -> Iterator[dict]:
    """The transforms of a pipeline, those inside others too."""
    for step in pipeline:
        if isinstance(step, dict):
            yield step
            yield from _transforms(step.get('transforms') or [])


def _takes_clips(cfg: Config) -> bool:
    return cfg.model.get('type', '').split('.')[-1] not in ('Recognizer2D', 'TopdownPoseEstimator')


def loader_inputs(cfg: Config, model: Any, clips: int) -> Iterator[Tensor]:
    """Inputs of the test loader's first samples, one view each, as the model's preprocessor hands them on.

    Raises:
        FileNotFoundError: the data is not there; the message has the flags that do without.
    """
    loader = cfg.test_dataloader
    loader.update(batch_size=1, num_workers=0, persistent_workers=False)
    try:
        batches = Runner.build_dataloader(loader, seed=0)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the config's test data: {error}; give --video FILE or --random instead") from error
    for i, batch in enumerate(batches):
        if i == clips:
            return
        yield one_view(cfg, model.data_preprocessor(batch, False)['inputs'])


def one_view(cfg: Config, inputs: Any) -> Tensor:
    """Of mmaction2's (1, views, ...) the first view of a clip; frames of a 2D recogniser all belong to it."""
    inputs = torch.stack(list(inputs)) if isinstance(inputs, (list, tuple)) else inputs
    return inputs[:, :1] if cfg.get('default_scope') == 'mmaction' and inputs.dim() == 6 else inputs


def random_inputs(cfg: Config, shape: Sequence[int]) -> Tensor:
    """A standard normal input (1, ...), as normalised pictures are."""
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    return x[:, None] if cfg.get('default_scope') == 'mmaction' else x


def video_inputs(cfg: Config, model: Any, path: str, shape: Sequence[int]) -> Tensor:
    """Frames of a video, evenly spaced, scaled to the shape and through the model's preprocessor.

    Raises:
        ValueError: no video, or one with fewer frames than asked for.
    """
    video = open_video(path)
    frames = []
    while True:
        good, frame = video.read()
        if not good:
            break
        frames.append(cv2.resize(frame, tuple(shape[-2:])[::-1]))
    video.release()
    count = shape[1] if len(shape) == 4 else 1
    if len(frames) < count:
        raise ValueError(f'{path}: {len(frames)} frames can be read, {count} are needed')
    chosen = np.stack([frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)])
    if cfg.get('default_scope') != 'mmseg':  # whose preprocessor makes RGB of BGR
        chosen = chosen[..., ::-1]
    clip = torch.from_numpy(np.ascontiguousarray(chosen)).permute(3, 0, 1, 2)  # CTHW
    clip = clip if len(shape) == 4 else clip[:, 0]
    batch = dict(
        inputs=[clip[None] if cfg.get('default_scope') == 'mmaction' else clip], data_samples=data_samples(cfg, 1)
    )
    return one_view(cfg, model.data_preprocessor(batch, False)['inputs'])


def input_pictures(cfg: Config, inputs: Tensor, steps: int) -> np.ndarray:
    """What the network gets, to be looked at: the frames (T, H, W, 3) of one input, BGR uint8.

    Values are spread from the least to the largest; of more channels than three the first are shown, an image stands in
    each of its time steps.
    """
    if cfg.get('default_scope') == 'mmaction' and inputs.dim() == 5:  # (B, segments, C, H, W)
        inputs = inputs[0]
    clip = inputs.flatten(0, inputs.dim() - 5)[0] if inputs.dim() >= 5 else inputs[0][:, None].expand(-1, steps, -1, -1)
    frames = clip[:3, :steps].expand(3, -1, -1, -1).permute(1, 2, 3, 0).float().cpu().numpy()
    spread = 255 * (frames - frames.min()) / max(float(np.ptp(frames)), 1e-6)
    return np.ascontiguousarray(spread.astype(np.uint8)[..., ::-1])


def frames_and_steps(cfg: Config, model: nn.Module, inputs: Tensor) -> tuple[int, int]:
    """Frames of a batch of inputs, and time steps T that a frame or clip is shown for."""
    if cfg.get('default_scope') == 'mmaction' and inputs.dim() == 5:  # (B, segments, C, H, W)
        return inputs.shape[0] * inputs.shape[1], int(getattr(model.backbone, 'time_steps', 1))
    if inputs.dim() >= 5:
        steps = inputs.shape[-3]
        return int(np.prod(inputs.shape[:-4])) * steps, steps
    return inputs.shape[0], int(getattr(getattr(model, 'backbone', None), 'time_steps', 1))


def describe(path: str | os.PathLike) -> str:
    """A config's or a checkpoint's name for a report: no folder of this machine."""
    return Path(path).name if os.path.isabs(path) else str(path)
