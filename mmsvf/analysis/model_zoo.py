"""The model zoo, from the configs and configs/results.yml: metafiles for MIM and the table of docs/zoo.md.

Parameters and FLOPs are counted on the built models; FLOPs are multiply-adds of one view, as OpenMMLab counts them,
with every layer taken as dense: a spiking layer does a fraction of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from .models import build_without_memory, scores

COLLECTION: dict[str, Any] = {
    'Name': 'SpikeVideoFormer',
    'README': 'README.md',
    'Paper': {
        'Title': 'SpikeVideoFormer: An Efficient Spike-Driven Video Transformer with Hamming Attention and O(T) '
        'Complexity',
        'URL': 'https://arxiv.org/abs/2505.10352',
    },
}
TASKS = {
    'mmaction': 'Action Recognition',
    'mmpretrain': 'Image Classification',
    'mmseg': 'Semantic Segmentation',
    'mmpose': 'Human Mesh Recovery',
}
PAGE = Path('docs/zoo.md')
MARKS = '<!-- zoo: tools/misc/make_zoo.py -->', '<!-- /zoo -->'


def count(model: Any, shape: list[int]) -> tuple[int, int]:
    """Parameters, and multiply-adds of one view of a shape."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        scores(model, torch.empty(1, *shape, device='meta'))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2


def sampling(cfg: Config) -> str:
    """Frames of a training sample: clip length x interval x clips, frames of a clip, or an image and its time steps."""
    if cfg.default_scope == 'mmseg':
        dataset = cfg.train_dataloader.dataset
        offsets = dataset.get('dataset', dataset).get('offsets')
        return f'frames {", ".join(map(str, offsets))}, 0' if offsets else 'single frame'
    if cfg.default_scope == 'mmpose':
        dataset = cfg.train_dataloader.dataset
        return f'{dataset.time_steps} steps, {", ".join(map(str, dataset.durations))} s'
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'mmsvf.SampleClip':
            return f'{step.clip_len}x{step.frame_interval}x{step.num_clips}'
    return f'image x {cfg.model.backbone.time_steps}'


def entry(name: str, facts: dict[str, Any], root: Path) -> dict[str, Any]:
    """A model of the metafile."""
    cfg = Config.fromfile(root / 'configs' / f'{name}.py')
    parameters, flops = count(build_without_memory(cfg), facts['input'])
    arch = cfg.model.backbone.arch
    height, width = facts['input'][-2:]
    model = {
        'Name': Path(name).name,
        'Config': f'configs/{name}.py',
        'In Collection': COLLECTION['Name'],
        'Metadata': {
            'Architecture': f'SpikeVideoFormer-{arch if isinstance(arch, str) else "tiny"}',
            'Batch Size': cfg.auto_scale_lr.base_batch_size,
            'Epochs': cfg.train_cfg.max_epochs,
            'FLOPs': flops,
            'Parameters': parameters,
            'Resolution': f'{height}x{width}',
            'Sampling': sampling(cfg),
            'Training Data': facts['task'],
        },
        'Modality': 'RGB',
    }
    if 'measured' in facts:
        metrics = facts['measured']['metrics']
        model['Results'] = [{'Dataset': facts['task'], 'Task': TASKS[cfg.default_scope], 'Metrics': metrics}]
        model['Weights'] = facts['measured']['checkpoint']
        model['Training Log'] = facts['measured']['log']
    return model


def row(model: dict[str, Any], facts: dict[str, Any]) -> str:
    """A line of the table of docs/zoo.md."""
    meta, measured = model['Metadata'], facts.get('measured')
    cells = [
        f'[{model["Name"]}](../{model["Config"]})',
        facts['task'],
        meta['Sampling'],
        meta['Resolution'],
        f'{meta["Parameters"] / 1e6:.2f} M',
        f'{meta["FLOPs"] / 1e9:.4g} G',
        ', '.join(f'{name} {value}' for name, value in measured['metrics'].items()) if measured else 'not trained',
        str(facts.get('paper', '-')),
        facts['protocol'],
        f'[ckpt](../{measured["checkpoint"]}) [log](../{measured["log"]})' if measured else '-',
    ]
    return f'| {" | ".join(cells)} |'


def make(root: Path) -> dict[Path, str]:
    """Contents of the files, by path, of the repository at ``root``."""
    results = yaml.safe_load((root / 'configs' / 'results.yml').read_text())
    models = {name: entry(name, facts, root) for name, facts in results.items()}
    files, folders = {}, sorted({Path(name).parent for name in models})
    for folder in folders:
        content = {'Collections': [COLLECTION]} if folder == Path() else {}
        content['Models'] = [model for name, model in models.items() if Path(name).parent == folder]
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
        files[Path('configs') / folder / 'metafile.yml'] = f'# written by tools/misc/make_zoo.py\n{text}'
    imports = [path.as_posix() for path in files]
    files[Path('model-index.yml')] = yaml.safe_dump({'Import': imports})
    header = [
        '| config | data | sampling | resolution | params | FLOPs | measured | paper | protocol | files |',
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    table = '\n'.join([*header, *(row(models[name], facts) for name, facts in results.items())])
    page = (root / PAGE).read_text()
    if not all(mark in page for mark in MARKS):
        raise ValueError(f'{PAGE} has no {MARKS[0]} ... {MARKS[1]} to put the table between')
    pattern = re.compile(f'{re.escape(MARKS[0])}.*{re.escape(MARKS[1])}', re.S)
    files[PAGE] = pattern.sub(lambda _: f'{MARKS[0]}\n{table}\n{MARKS[1]}', page)
    return files
