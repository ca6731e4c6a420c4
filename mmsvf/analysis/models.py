"""A config's model for analysis: nothing is downloaded, nothing is trained."""

from __future__ import annotations

import os
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
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
    """The model of a config on the meta device (no RAM), in evaluation, with the embedded figure for a file's body."""
    init_default_scope(cfg.default_scope)
    model_cfg = ConfigDict(cfg.model)
    if cfg.default_scope == 'mmpose' and 'body' in model_cfg.head:
        model_cfg.head.body = None
    with torch.device('meta'), _RatesOnCPU():
        return MODELS.build(model_cfg).eval()


def construct(cfg: Config, model_cfg: ConfigDict) -> tuple[Any, list[str]]:
    """The model of ``model_cfg``, a part of ``cfg``, as constructed, and the pre-trained weights that were left out."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    left_out = strip_pretrained(model_cfg)
    if 'data_preprocessor' not in model_cfg and 'data_preprocessor' in cfg:
        model_cfg.data_preprocessor = cfg.data_preprocessor  # as MMEngine's Runner of older frameworks does
    return MODELS.build(model_cfg), left_out


def build_model(cfg: Config, checkpoint: str | None = None) -> tuple[nn.Module, list[str]]:
    """The model of a config in evaluation, with the weights of a checkpoint or as constructed, and notes on both.

    Pre-trained weights that the config names are not loaded. The embedded figure stands in for a
    body whose file is missing.
    """
    model_cfg, notes = ConfigDict(cfg.model), []
    body = model_cfg.get('head', {}).get('body') if isinstance(model_cfg.get('head'), dict) else None
    if body is not None and not os.path.isfile(body):
        model_cfg.head.body = None
        notes.append(f'{body} is missing: the embedded figure stands in for the body, which is not counted anyway')
    torch.manual_seed(0)
    model, left_out = construct(cfg, model_cfg)
    notes[:0] = [f'pre-trained weights not loaded: {name}' for name in left_out]
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, map_location='cpu')
        notes.append(f'weights of {checkpoint}')
    else:
        notes.append('no checkpoint: weights as constructed')
    return model.eval(), notes


def data_samples(cfg: Config, count: int) -> list:
    """Empty data samples for ``count`` inputs, of the config's framework."""
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
        return model(inputs, data_samples(cfg, len(inputs)), mode='predict')
    return model(inputs, data_samples=None, mode='tensor')


def scores(model: Any, inputs: Tensor) -> Tensor:
    """Scores, logits or regressed values of inputs (B, C, [T,] H, W), of which a gradient can be taken."""
    if hasattr(model, 'decode_head'):
        return model(inputs, mode='tensor')
    features = model.backbone(inputs)
    return model.head(features) if hasattr(model, 'head') else model.cls_head(features)


@torch.no_grad()
def calibrate_batchnorm(cfg: Config, model: nn.Module, inputs: Tensor, passes: int = 3) -> None:
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
