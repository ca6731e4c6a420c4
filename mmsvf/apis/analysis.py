"""A config's model and its inputs for analysis: nothing is downloaded, nothing is trained."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmsvf.body import SkinnedBody
from mmsvf.registry import MODELS

# not part of the network: what a body's mesh costs is the same for every regressor
NOT_COUNTED: tuple[type[nn.Module], ...] = (SkinnedBody,)


def strip_pretrained(cfg: Any, path: str = 'model') -> list[str]:
    """Take pre-trained weights out of a model's config, in place; returns what was taken out."""
    found: list[str] = []
    if isinstance(cfg, dict):
        weights = cfg.get('init_cfg')
        if isinstance(weights, dict) and weights.get('type') == 'Pretrained':
            found.append(f'{path}.init_cfg={weights.get("checkpoint")}')
            cfg['init_cfg'] = None
        if cfg.get('pretrained'):
            found.append(f'{path}.pretrained={cfg["pretrained"]}')
            cfg['pretrained'] = False if cfg['pretrained'] is True else None
        for key, value in cfg.items():
            found += strip_pretrained(value, f'{path}.{key}')
    elif isinstance(cfg, (list, tuple)):
        for i, value in enumerate(cfg):
            found += strip_pretrained(value, f'{path}[{i}]')
    return found


class _RatesOnCPU(TorchFunctionMode):
    """Drop-path rates are read off ``torch.linspace`` while a model is built: they need values, on meta too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **{**(kwargs or {}), **(dict(device='cpu') if func is torch.linspace else {})})


def build_without_memory(cfg: Config) -> Any:
    """The model of a config on the meta device, in evaluation; the embedded figure stands for the body of a file."""
    init_default_scope(cfg.default_scope)
    model_cfg = ConfigDict(cfg.model)
    if cfg.default_scope == 'mmpose' and 'body' in model_cfg.head:
        model_cfg.head.body = None
    with torch.device('meta'), _RatesOnCPU():
        return MODELS.build(model_cfg).eval()


def build_model(cfg: Config, checkpoint: str | None = None) -> tuple[nn.Module, list[str]]:
    """The model of a config in evaluation, with the weights of a checkpoint or as constructed, and notes on both.

    Pre-trained weights that the config names are not loaded. The embedded figure stands in for a
    body whose file is missing.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model_cfg = ConfigDict(cfg.model)
    notes = [f'pre-trained weights not loaded: {name}' for name in strip_pretrained(model_cfg)]
    body = model_cfg.get('head', {}).get('body') if isinstance(model_cfg.get('head'), dict) else None
    if body is not None and not os.path.isfile(body):
        model_cfg.head.body = None
        notes.append(f'{body} is missing: the embedded figure stands in for the body, which is not counted anyway')
    if 'data_preprocessor' not in model_cfg and 'data_preprocessor' in cfg:
        model_cfg.data_preprocessor = cfg.data_preprocessor  # as MMEngine's Runner of older frameworks does
    torch.manual_seed(0)
    model = MODELS.build(model_cfg)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, map_location='cpu')
        notes.append(f'weights of {checkpoint}')
    else:
        notes.append('no checkpoint: weights as constructed')
    return model.eval(), notes


def guess_shape(cfg: Config) -> tuple[int, ...]:
    """Shape of an input (C, [T,] H, W) by the test pipeline's last size and, of clips, its number of frames.

    Raises:
        ValueError: the pipeline has no size; the message has the flag to give.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or cfg.get('train_dataloader') or {}
    dataset = loader.get('dataset', {})
    size, frames = None, dataset.get('steps')
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
    video = cv2.VideoCapture(str(path))
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
    clip = torch.from_numpy(np.ascontiguousarray(chosen[..., ::-1])).permute(3, 0, 1, 2)  # RGB, CTHW
    clip = clip if len(shape) == 4 else clip[:, 0]
    batch = dict(inputs=[clip[None] if cfg.get('default_scope') == 'mmaction' else clip], data_samples=_samples(cfg, 1))
    return one_view(cfg, model.data_preprocessor(batch, False)['inputs'])


def _samples(cfg: Config, count: int) -> list:
    if cfg.get('default_scope') == 'mmaction':
        from mmaction.structures import ActionDataSample

        return [ActionDataSample() for _ in range(count)]
    if cfg.get('default_scope') == 'mmseg':
        from mmseg.structures import SegDataSample

        return [SegDataSample() for _ in range(count)]
    return [None] * count


@torch.no_grad()
def run_model(cfg: Config, model: nn.Module, inputs: Tensor) -> Any:
    """A forward pass up to the scores, logits or regressed values."""
    if cfg.get('default_scope') == 'mmaction':  # its 'tensor' mode leaves the head out
        return model(inputs, _samples(cfg, len(inputs)), mode='predict')
    return model(inputs, data_samples=None, mode='tensor')


def scores(model: Any, inputs: Tensor) -> Tensor:
    """Scores, logits or regressed values of inputs (B, C, [T,] H, W), of which a gradient can be taken."""
    if hasattr(model, 'decode_head'):
        return model(inputs, mode='tensor')
    features = model.backbone(inputs)
    return model.head(features) if hasattr(model, 'head') else model.cls_head(features)


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


@torch.no_grad()
def wake(cfg: Config, model: nn.Module, inputs: Tensor, passes: int = 3) -> None:
    """Give a network without trained weights BatchNorm statistics of an input and steeper norms, so that it spikes.

    As constructed, most of a spiking network is silent, and silence does not tell spikes from real numbers.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    for _ in range(passes):
        run_model(cfg, model, inputs)
    for norm in norms:
        norm.eval()
        if norm.affine:
            nn.init.constant_(norm.weight, 2.0)
