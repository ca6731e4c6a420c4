"""SpikeVideoFormer in the place of another backbone: the options that turn an OpenMMLab config into one with it.

What a config says of its backbone's feature maps (channels, strides, sizes) is set to what ours delivers; the rest
(data, losses, schedule) stays. Only necks and heads that are named here are adapted: any other is an error that names
it, since a head that happens to accept the tensors may still mean others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mmengine.config import Config

from .known import OPTIM_CONSTRUCTORS, PARAMWISE
from .rules import FRAMEWORK_RULES, LAST, Options, kind, refuse, replaced, stages_of


class Swap(NamedTuple):
    """What to change in a config: options as ``--cfg-options`` takes them, and what to know."""

    options: Options
    notes: list[str]

    def apply(self, cfg: Config) -> Config:
        """The config with the options merged, as ``--cfg-options`` does."""
        swapped = Config(cfg.to_dict())
        swapped.merge_from_dict(dict(self.options))
        return swapped


def swap(
    cfg: Config, arch: str | dict[str, Any] | None = None, type: str = 'SpikeVideoFormer', **backbone: Any
) -> Swap:
    """How to put SpikeVideoFormer, or another backbone of mmsvf, in the place of a config's backbone.

    Args:
        cfg: A config of mmaction2, mmsegmentation, mmpose, mmdetection or mmpretrain.
        arch: As of the backbone; None is 'small' of SpikeVideoFormer, and the default of the others.
        type: 'SpikeVideoFormer', 'STAtten', 'Spikformer', 'SEWResNet' or 'MSResNet'.
        backbone: Its further arguments, such as ``attention=dict(score='dot')``.

    Raises:
        ValueError: a framework, model, neck or head that is not known; the message has what is.
    """
    scope = cfg.get('default_scope')
    if scope not in FRAMEWORK_RULES:
        raise refuse(f'default_scope={scope!r}', set(FRAMEWORK_RULES))
    model: Any = cfg.get('model') or {}
    if not isinstance(model.get('backbone'), dict):
        raise ValueError(f'model.type={kind(model)!r} has no backbone at model.backbone: there is nothing to swap')
    ours: Options = dict(type=f'mmsvf.{type}')
    if arch is None and type == 'SpikeVideoFormer':
        arch = 'small'
    if arch is not None:
        ours['arch'] = arch
    levels, options, notes = FRAMEWORK_RULES[scope](model, stages_of({**ours, **backbone}))
    if levels != (LAST,):
        ours['out_indices'] = levels
    if scope != 'mmaction':
        ours['output'] = 'tuple'
    old = {k: v for k, v in model.backbone.items() if k not in ('type', '_scope_')}
    notes = [f'{kind(model.backbone)} replaced, with its options {", ".join(old) or "(none)"}', *notes]
    options = {**replaced('model.backbone', {**ours, **backbone}), **options}
    for key, parent in (('pretrained', model), ('init_cfg', model)):
        if parent.get(key):
            options[f'model.{key}'] = None
            notes.append(f'weights of the old network are not loaded: model.{key}={parent[key]}')
    if cfg.get('load_from'):
        options['load_from'] = None
        notes.append(f'weights of the old network are not loaded: load_from={cfg.load_from}')
    more, said = _optimizer(cfg.get('optim_wrapper') or {})
    return Swap({**options, **more}, [*notes, *said])


def _optimizer(wrapper: Any) -> tuple[Options, list[str]]:
    """Options in the place of a constructor that knows another backbone's layers by name."""
    constructor = str(wrapper.get('constructor', '')).split('.')[-1]
    if constructor not in OPTIM_CONSTRUCTORS:
        return {}, []
    rules = wrapper.get('paramwise_cfg') or {}
    kept = {k: v for k, v in rules.items() if k in PARAMWISE}
    by_name = {k: v for k, v in rules.items() if isinstance(v, dict) and k not in PARAMWISE and '.' not in k}
    if by_name:
        kept['custom_keys'] = {**kept.get('custom_keys', {}), **by_name}
    options: Options = {'optim_wrapper.constructor': 'DefaultOptimWrapperConstructor'}
    if 'paramwise_cfg' in wrapper:
        none = {'optim_wrapper.paramwise_cfg': None}
        options.update(replaced('optim_wrapper.paramwise_cfg', kept) if kept else none)
    return options, [
        f'{constructor}, which knows the old layers by name, replaced by the default; one rate for all layers'
    ]
