"""What a framework's config says of its backbone's feature maps, set to what ours delivers: one rule per framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from mmsvf.models.backbones.clip_backbone import ClipBackbone
from mmsvf.registry import MODELS

from .known import (
    ACTION_HEADS,
    ACTION_REPLACED,
    DET_NECKS,
    DET_QUERY_HEADS,
    POSE_HEADS,
    POSE_NECKS,
    PRETRAIN_HEADS,
    PRETRAIN_REPLACED,
    RECOGNIZERS,
    SEG_BACKBONES_REFUSED,
    SEG_HEADS,
    SEG_NECKS,
    SEG_NECKS_DROPPED,
)

Options = dict[str, Any]

# strides 4, 8, 16, 16: nearest to the 4, 8, 16, 32 that four-level heads are made for
PYRAMID: tuple[int, ...] = (1, 2, 3, 4)
LAST = 4


class Stages(NamedTuple):
    """Channels and strides of the new backbone's five stages."""

    widths: tuple[int, ...]
    strides: tuple[int, ...]


def refuse(what: str, known: Sequence[str] | set[str], why: str = '') -> ValueError:
    """The error of a config that is not adapted."""
    return ValueError(f'{what} cannot be adapted{why}; known here: {", ".join(sorted(known))}')


def kind(cfg: Any) -> str:
    """Type of a module's config without its scope; '' for none."""
    name = cfg.get('type', '') if isinstance(cfg, dict) else ''
    return name.split('.')[-1] if isinstance(name, str) else name.__name__


def stages_of(backbone: Options) -> Stages:
    """What a backbone of mmsvf delivers; it is built on the meta device, so its options are looked at, too.

    Raises:
        ValueError: a type or an option that is not known.
    """
    with torch.device('meta'):
        built = MODELS.build(dict(backbone))
    if not isinstance(built, ClipBackbone) or len(built.widths) != LAST + 1:
        raise ValueError(f'type={kind(backbone)!r} is no backbone of mmsvf with {LAST + 1} stages')
    return Stages(built.widths, built.strides)


def replaced(path: str, value: Options, there: bool = True) -> Options:
    """Options that put a dict in the place of another; ``there``: the config has the key."""
    # MMEngine leaves _delete_ in what it adds, and needs it in what it replaces, None too
    return {**({f'{path}._delete_': True} if there else {}), **dict(flat(path, value))}


def flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted options of a nested dict."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(f'{path}.{key}', inner)
    else:
        yield path, value


def _channels(levels: Sequence[int], ours: Stages) -> list[int]:
    return [ours.widths[i] for i in levels]


Rules = tuple[tuple[int, ...], Options, list[str]]


def _action(model: Any, ours: Stages) -> Rules:
    if kind(model) not in RECOGNIZERS:
        raise refuse(f'model.type={kind(model)!r}', RECOGNIZERS)
    if model.get('neck'):
        raise ValueError(f'model.neck.type={kind(model.neck)!r} cannot be adapted: it mixes levels of its own backbone')
    head, name = model.cls_head, kind(model.cls_head)
    if name in ACTION_REPLACED and kind(model) != 'Recognizer2D':
        keep = ('num_classes', 'loss_cls', 'multi_class', 'label_smooth_eps', 'topk', 'average_clips')
        plain = dict(type='I3DHead', in_channels=ours.widths[LAST], **{k: head[k] for k in keep if k in head})
        dropout = head.get('dropout_ratio')
        plain.update({} if dropout is None else dict(dropout_ratio=dropout))
        return (LAST,), replaced('model.cls_head', plain), [f'{name} replaced by I3DHead, which pools one feature map']
    if name not in ACTION_HEADS:
        raise refuse(f'model.cls_head.type={name!r}', ACTION_HEADS | ACTION_REPLACED)
    options: Options = {'model.cls_head.in_channels': ours.widths[LAST]}
    if head.get('spatial_type', 'avg') != 'avg':  # of C3D, whose backbone pools
        options['model.cls_head.spatial_type'] = 'avg'
    return (LAST,), options, []


def _segmentation(model: Any, ours: Stages) -> Rules:
    backbone, neck = kind(model.backbone), kind(model.get('neck'))
    if kind(model) not in ('EncoderDecoder', 'CascadeEncoderDecoder'):
        raise refuse(f'model.type={kind(model)!r}', {'EncoderDecoder', 'CascadeEncoderDecoder'})
    if backbone in SEG_BACKBONES_REFUSED:
        raise ValueError(f'model.backbone.type={backbone!r} cannot be swapped: its decoder is part of it')
    options: Options = {}
    notes = []
    levels = PYRAMID
    if neck and neck not in SEG_NECKS:
        raise refuse(f'model.neck.type={neck!r}', SEG_NECKS)
    if neck in SEG_NECKS_DROPPED:
        options['model.neck'] = None
        notes.append(f'{neck} removed: it makes a pyramid of one scale, and the backbone delivers one')
    elif neck:
        levels = PYRAMID[-len(model.neck.in_channels) :]
        options['model.neck.in_channels'] = _channels(levels, ours)
    for key in ('decode_head', 'auxiliary_head'):
        heads = model.get(key)
        numbered = heads if isinstance(heads, (list, tuple)) else [heads] if heads else []
        for i, head in enumerate(numbered):
            path = f'model.{key}.{i}' if isinstance(heads, (list, tuple)) else f'model.{key}'
            if kind(head) not in SEG_HEADS:
                raise refuse(f'{path}.type={kind(head)!r}', SEG_HEADS)
            options.update(_segmentation_head(path, head, levels, ours, own=bool(neck) and 'model.neck' not in options))
    return levels, options, [*notes, f'levels of strides {[ours.strides[i] for i in levels]}']


def _segmentation_head(path: str, head: Any, levels: tuple[int, ...], ours: Stages, own: bool) -> Options:
    """Options of a head and of those inside it; ``own``: a neck is between the backbone and it."""
    options: Options = {}
    strides = [ours.strides[i] for i in levels]
    for key in ('strides', 'feature_strides'):
        if len(head.get(key) or ()) == len(levels):
            options[f'{path}.{key}'] = strides
    if own:
        return options
    for key, inner in head.items():
        if isinstance(inner, dict) and 'in_index' in inner:
            options.update(_segmentation_head(f'{path}.{key}', inner, levels, ours, own))
    if 'in_channels' not in head:
        return options
    default = list(range(len(levels))) if isinstance(head['in_channels'], (list, tuple)) else -1
    index = head.get('in_index', default)
    chosen = list(index) if isinstance(index, (list, tuple)) else [index]
    if any(not -len(levels) <= i < len(levels) for i in chosen):
        raise ValueError(f'{path}.in_index={index}: the head reads more than the {len(levels)} levels that there are')
    channels = [ours.widths[levels[i]] for i in chosen]
    options[f'{path}.in_channels'] = channels if isinstance(index, (list, tuple)) else channels[0]
    if head.get('c1_in_channels'):  # DeepLabV3+ reads the first level, too
        options[f'{path}.c1_in_channels'] = ours.widths[levels[0]]
    return options


def _pose(model: Any, ours: Stages) -> Rules:
    if kind(model) != 'TopdownPoseEstimator':
        raise refuse(f'model.type={kind(model)!r}', {'TopdownPoseEstimator'})
    neck, head, name = model.get('neck'), model.head, kind(model.head)
    if name not in POSE_HEADS:
        raise refuse(f'model.head.type={name!r}', POSE_HEADS)
    if neck and kind(neck) not in POSE_NECKS:
        raise refuse(f'model.neck.type={kind(neck)!r}', POSE_NECKS)
    options: Options = {'model.head.in_channels': ours.widths[LAST]}
    notes: list[str] = []
    if 'conv_out_channels' in head and head.conv_out_channels and 'deconv_out_channels' not in head:
        raise ValueError('model.head.conv_out_channels without deconv_out_channels cannot be adapted')
    codec = head.get('decoder') or {}
    size: Any = head.get('input_size') or codec.get('input_size')
    scale = 1
    if kind(neck) == 'FeatureMapProcessor':
        if neck.get('select_index') or neck.get('concat'):
            options['model.neck'] = None
            notes.append('FeatureMapProcessor removed: it joins several feature maps, and one is delivered')
        else:
            scale = neck.get('scale_factor', 1)
    if 'in_featuremap_size' in head:
        options['model.head.in_featuremap_size'] = [int(side / ours.strides[LAST] * scale) for side in size]
    if codec.get('heatmap_size') and name in ('HeatmapHead', 'DSNTHead', 'IntegralRegressionHead'):
        ratio = codec['heatmap_size'][0] / (size[0] / ours.strides[LAST] * scale)
        count = round(math.log2(ratio))
        if count < 0 or 2**count != ratio:
            raise ValueError(
                f'heat maps of {codec["heatmap_size"]} for inputs of {size} cannot be made from features of stride '
                f'{ours.strides[LAST]} by doubling'
            )
        width = (head.get('deconv_out_channels', (256,)) or (256,))[0]
        kernel = (head.get('deconv_kernel_sizes', (4,)) or (4,))[0]
        options['model.head.deconv_out_channels'] = [width] * count
        options['model.head.deconv_kernel_sizes'] = [kernel] * count
        notes.append(f'{count} deconvolutions take stride {ours.strides[LAST]} to the heat map')
    return (LAST,), options, notes


def _detection(model: Any, ours: Stages) -> Rules:
    neck, panoptic = model.get('neck'), model.get('panoptic_head')
    if isinstance(neck, (list, tuple)):  # what follows the first reads what the first makes
        first, path = neck[0], 'model.neck.0'
    else:
        first, path = neck, 'model.neck'
    if neck is None and kind(panoptic) in DET_QUERY_HEADS:
        options: Options = {'model.panoptic_head.in_channels': _channels(PYRAMID, ours)}
        if len(panoptic.get('strides') or ()) == len(PYRAMID):
            options['model.panoptic_head.strides'] = [ours.strides[i] for i in PYRAMID]
        return PYRAMID, options, []
    if kind(first) not in DET_NECKS:
        raise refuse(
            f'{path}.type={kind(first)!r}', DET_NECKS, ': it makes no levels beyond those that the backbone delivers'
        )
    channels = first['in_channels']
    count = len(channels) if isinstance(channels, (list, tuple)) else 1
    # by the number of levels: strides 4 to 32, 8 to 32, 32; where the last is 16 the neck goes on from it
    coarsest = ours.strides[LAST]
    pyramids = (
        {4: PYRAMID, 3: PYRAMID[1:], 1: (LAST,)} if coarsest == 32 else {4: (1, 2, LAST), 3: (2, LAST), 1: (LAST,)}
    )
    levels = pyramids.get(count)
    if levels is None:
        raise ValueError(f'{path}.in_channels={channels}: 1, 3 or 4 levels can be adapted')
    coarse = (
        first.get('num_outs') == count and count > 1 and not first.get('add_extra_convs') and 'start_level' in first
    )
    if coarsest < 32 and (coarse or (count == 1 and kind(first) != 'ChannelMapper')):
        raise ValueError(f'{path} makes no level of stride 32, and the backbone has none')
    strides = [ours.strides[i] for i in levels]
    return levels, {f'{path}.in_channels': _channels(levels, ours)}, [f'levels of strides {strides} go to the neck']


def _pretrain(model: Any, ours: Stages) -> Rules:
    if kind(model) != 'ImageClassifier':
        raise refuse(f'model.type={kind(model)!r}', {'ImageClassifier'})
    head = model.get('head')
    name = kind(head)
    neck = model.get('neck')
    pool = replaced('model.neck', dict(type='GlobalAveragePooling'), 'neck' in model)
    options: Options = {} if kind(neck) == 'GlobalAveragePooling' else pool
    notes = [] if not options else ['a GlobalAveragePooling neck: the backbone delivers a feature map']
    if name in PRETRAIN_HEADS:
        options['model.head.in_channels'] = ours.widths[LAST]
        return (LAST,), options, notes
    classes = (head or {}).get('num_classes') or model.backbone.get('num_classes')
    if name not in PRETRAIN_REPLACED or not classes:
        raise refuse(f'model.head.type={name!r}', PRETRAIN_HEADS | PRETRAIN_REPLACED)
    keep = {k: head[k] for k in ('loss', 'topk', 'cal_acc') if k in head}
    plain = dict(type='LinearClsHead', num_classes=classes, in_channels=ours.widths[LAST], **keep)
    return (LAST,), {**options, **replaced('model.head', plain)}, [*notes, f'{name} replaced by LinearClsHead']


FRAMEWORK_RULES: dict[str, Callable[[Any, Stages], Rules]] = {
    'mmaction': _action,
    'mmseg': _segmentation,
    'mmpose': _pose,
    'mmdet': _detection,
    'mmpretrain': _pretrain,
}
