"""The authors' checkpoints: their names of parameters and ours, in both directions.

Source: the key list of the authors' SpikeVideoFormer and Meta-SpikeFormer models. D50 is a row of docs/faithfulness.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmsvf.version import __version__

# our name -> the authors', applied in this order
_RULES = [
    (r'^(cls_)?head\.lif', 'lif'),
    (r'^(cls_)?head\.fc_kd\.', 'head_kd.'),
    (r'^(cls_)?head\.fc\.', 'head.'),
    (r'^backbone\.', ''),
    (r'^stages\.0\.downsample\.', 'downsample1_1.encode_'),
    (r'^stages\.1\.downsample\.', 'downsample1_2.encode_'),
    (r'^stages\.([234])\.downsample\.', r'downsample\1.encode_'),
    (r'encode_norm', 'encode_bn'),
    (r'^stages\.0\.blocks\.0\.', 'ConvBlock1_1.0.'),
    (r'^stages\.1\.blocks\.0\.', 'ConvBlock1_2.0.'),
    (r'^stages\.2\.blocks\.0\.', 'ConvBlock2_1.0.'),
    (r'^stages\.2\.blocks\.1\.', 'ConvBlock2_2.0.'),
    (r'^stages\.([34])\.blocks\.', r'block\1.'),
    (r'\.sep_conv\.', '.Conv.'),
    (r'\.channel_conv\.', '.'),
    (r'(Conv\.)depthwise', r'\1dwconv'),
    (r'(Conv\.)pointwise', r'\1pwconv'),
    (r'^(ConvBlock.*\.)norm', r'\1bn'),
    (r'\.attn\.units\.0\.lif', '.attn.head_lif'),
    (r'\.attn\.units\.0\.read\.norm', '.attn.attn_bn'),
    (r'\.attn\.units\.0\.read\.lif', '.attn.attn_lif'),
    (r'\.attn\.units\.0\.([qkv])\.conv\.', r'.attn.\1_conv.'),
    (r'\.attn\.units\.0\.([qkv])\.lif', r'.attn.\1_lif'),
    (r'\.attn\.units\.0\.proj\.', '.attn.proj_conv.'),
    (r'_conv\.pointwise1', '_conv.0.body.0'),
    (r'_conv\.norm1', '_conv.0.body.1.bn'),
    (r'_conv\.depthwise', '_conv.0.body.2.0'),
    (r'_conv\.pointwise2', '_conv.0.body.2.1'),
    (r'_conv\.norm2', '_conv.0.body.2.2'),
    (r'_conv\.norm3', '_conv.1'),
    (r'\.mlp\.fc([12])', r'.mlp.fc\1_conv'),
    (r'\.mlp\.norm([12])', r'.mlp.fc\1_bn'),
    (r'\.mlp\.lif([12])', r'.mlp.fc\1_lif'),
]

_DOWNSAMPLES = ('1_1', '1_2', '2', '3', '4')


def official_name(name: str) -> str:
    """The authors' name of a parameter, buffer or module of ours (``backbone.*``, ``cls_head.*``)."""
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name


def official_arch(state_dict: Mapping[str, Tensor], space_time: str | None = None) -> dict[str, Any]:
    """Arguments of :class:`SpikeVideoFormer` (arch, in_channels, attention) that the authors' weights fit.

    The score is told by ``attn_bn``, which only Hamming attention has. **The weights do not tell the heads and the
    space-time design**: heads are left at the backbone's default, 8 in all of the authors' models, and the design is
    that of the model the score belongs to, joint for SpikeVideoFormer (Hamming) and within a step for the published
    Meta-SpikeFormer (dot product, ``space_time='neuron'``; D50).

    Args:
        state_dict: Weights under the authors' names.
        space_time: The design, where it is another: 'joint' for a Meta-SpikeFormer trained with joint attention.

    Raises:
        ValueError: the weights are not those of the authors' model.
    """
    stems = [f'downsample{name}.encode_conv.weight' for name in _DOWNSAMPLES]
    missing = [stem for stem in stems if stem not in state_dict]
    if missing:
        raise ValueError(
            f"not the authors' model: keys {missing} are missing. Expected their names, such as {stems[0]!r}, without "
            f'a prefix; got {_some(state_dict)}'
        )
    depths = [1, 1, 2]
    for block in ('block3', 'block4'):
        indices = [int(key.split('.')[1]) for key in state_dict if re.match(rf'{block}\.\d+\.', key)]
        depths.append(max(indices, default=0) + 1)
    score, design = ('hamming', 'joint') if any('.attn.attn_bn.' in key for key in state_dict) else ('dot', 'neuron')
    return dict(
        arch=dict(embed_dims=tuple(int(state_dict[stem].shape[0]) for stem in stems), depths=tuple(depths)),
        in_channels=int(state_dict[stems[0]].shape[1]),
        attention=dict(score=score, space_time=space_time or design),
    )


def from_official(state_dict: Mapping[str, Tensor], head: str = 'cls_head') -> dict[str, Tensor]:
    """The authors' weights under our names.

    Args:
        state_dict: Weights and buffers under the authors' names (the ``model`` entry of their
            file), with or without classification heads.
        head: Name of the head in the model to be loaded: 'cls_head' in mmaction2's recognizers,
            'head' in mmpretrain's classifiers.

    Returns:
        The same tensors as ``backbone.*`` and ``{head}.*``, which ``load_state_dict`` of a model
        with :class:`SpikeVideoFormer` and our head takes strictly.

    Raises:
        ValueError: one message that lists every missing, extra and mis-sized key.
    """
    from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer

    settings = official_arch(state_dict)
    width = settings['arch']['embed_dims'][-1]
    with torch.device('meta'):
        backbone = SpikeVideoFormer(**settings, num_heads=1)
    expected = {f'backbone.{key}': tuple(value.shape) for key, value in backbone.state_dict().items()}
    for ours, theirs in (('fc', 'head'), ('fc_kd', 'head_kd')):
        if any(key.startswith(f'{theirs}.') for key in state_dict):
            classes = _classes(state_dict)
            expected.update({f'{head}.{ours}.weight': (classes, width), f'{head}.{ours}.bias': (classes,)})

    converted, missing, sizes = {}, [], []
    extra = set(state_dict)
    for ours, shape in expected.items():
        theirs = official_name(ours)
        if theirs not in state_dict:
            missing.append(theirs)
            continue
        extra.remove(theirs)
        value = state_dict[theirs]
        if value.dim() == 3:  # their 1x1 convolutions of the MLP are one-dimensional
            value = value.unsqueeze(-1)
        if tuple(value.shape) != shape:
            sizes.append(f'{theirs}: {tuple(state_dict[theirs].shape)} instead of {shape}')
        converted[ours] = value
    if missing or extra or sizes:
        raise ValueError(
            f"the weights do not fit the authors' model of widths {settings['arch']['embed_dims']} and depths "
            f'{settings["arch"]["depths"]}:\n'
            f'missing ({len(missing)}): {missing}\nextra ({len(extra)}): {sorted(extra)}\n'
            f'mis-sized ({len(sizes)}): {sizes}'
        )
    return converted


def to_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights (``backbone.*`` and a classification head) under the authors' names.

    Raises:
        ValueError: the weights are not those of a model that the authors' code can build; the
            message lists what does not fit.
    """
    converted = {}
    for name, value in state_dict.items():
        theirs = official_name(name)
        mlp = re.search(r'\.mlp\.fc[12]_conv\.weight$', theirs)
        converted[theirs] = value.squeeze(-1) if mlp else value
    if not any(name.startswith('backbone.') for name in state_dict):
        raise ValueError(f'no weights under backbone.*, so not a model of mmsvf; got {_some(state_dict)}')
    try:
        from_official(converted)
    except ValueError as error:
        raise ValueError(
            "the authors' code has no counterpart of this model: it builds SpikeVideoFormer and Meta-SpikeFormer with "
            f'their stages and RepConv projections, for images and clips, and one classification head. {error}'
        ) from error
    return converted


def official_weights(checkpoint: Any) -> dict[str, Tensor] | None:
    """The authors' weights in what a file of theirs holds, or None if it is not theirs.

    They stand under ``model`` or ``state_dict`` or at the top, with or without ``module.``; the
    states of optimizer and scaler, epoch and options beside them are left out.
    """
    if not isinstance(checkpoint, Mapping):
        return None
    weights = next(
        (checkpoint[k] for k in ('model', 'state_dict') if isinstance(checkpoint.get(k), Mapping)), checkpoint
    )
    weights = {re.sub(r'^module\.', '', str(key)): value for key, value in weights.items()}
    return weights if 'downsample1_1.encode_conv.weight' in weights else None


def translate(checkpoint: Any) -> Any:
    """A loaded checkpoint under our names, if it is one of the authors'; any other as it is.

    What MMEngine loads in a process that has imported mmsvf comes through here, so ``load_from`` and
    ``init_cfg=dict(type='Pretrained', prefix='backbone.')`` take the authors' files as they are. Their heads become
    mmpretrain's.

    Raises:
        ValueError: as :func:`from_official`.
    """
    weights = official_weights(checkpoint)
    return checkpoint if weights is None else convert(weights, 'head')


def convert(weights: Mapping[str, Tensor], head: str, space_time: str | None = None) -> dict[str, Any]:
    """A checkpoint for OpenMMLab from the authors' weights.

    ``meta.backbone`` has the arguments of the backbone that they are for. Arguments as in :func:`from_official` and
    :func:`official_arch`.

    Example:
        >>> from mmsvf.models import SpikeVideoFormer
        >>> from mmsvf.models.official import convert, to_official
        >>> weights = to_official({f'backbone.{k}': v for k, v in SpikeVideoFormer('small').state_dict().items()})
        >>> sorted(weights)[0]  # as torch.load(their_file, weights_only=True)['model'] has them
        'ConvBlock1_1.0.Conv.bn1.bias'
        >>> convert(weights, head='head')['meta']['backbone']['attention']
        {'score': 'hamming', 'space_time': 'joint'}
    """
    meta = dict(mmsvf_version=__version__, backbone=official_arch(weights, space_time))
    return dict(state_dict=from_official(weights, head), meta=meta)


def _classes(state_dict: Mapping[str, Tensor]) -> int:
    return next(int(state_dict[k].shape[0]) for k in ('head.bias', 'head_kd.bias', 'head.weight') if k in state_dict)


def _some(keys: Mapping[str, Any], count: int = 3) -> str:
    return ', '.join(list(keys)[:count]) + (', ...' if len(keys) > count else '')
