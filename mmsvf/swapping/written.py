"""A swap as a config file and as a command line, and a trial of the model that it makes."""

from __future__ import annotations

import shlex
from typing import Any

import torch
from mmengine.config import Config

from mmsvf.analysis.inputs import guess_shape, random_inputs
from mmsvf.analysis.models import build_model, run_model

from .swap import Swap


def argument(value: Any) -> str:
    """A value as --cfg-options reads it."""
    if isinstance(value, (list, tuple)):
        return f'[{",".join(map(argument, value))}]'
    return str(value)


def command_line(options: dict[str, Any]) -> str:
    """The options as they are typed after --cfg-options."""
    return ' '.join(shlex.quote(f'{key}={argument(value)}') for key, value in options.items())


def config_text(base: str, cfg: Config, change: Swap) -> str:
    """The new config file: its base, and what is changed; a changed list is there as a whole, as MMEngine wants it."""
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
    """Send an input of the config's size through the model; returns a line on what came out."""
    model: Any = build_model(cfg)[0]
    shape = guess_shape(cfg)
    inputs, size = random_inputs(cfg, shape), ' x '.join(map(str, shape))
    with torch.no_grad():
        if cfg.default_scope == 'mmdet':  # its heads want annotations, or operators of the compiled mmcv
            levels = model.extract_feat(inputs)
            sizes = ', '.join(' x '.join(map(str, level.shape[1:])) for level in levels)
            return f'checked: of an input of {size} the heads get feature maps of {sizes}'
        run_model(cfg, model, inputs)
    return f'checked: an input of {size} goes through the new model'
