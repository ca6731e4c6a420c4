"""Data that a config names and that is not there: said before anything is built, with what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config


def named_paths(dataset: Any, option: str) -> Iterator[tuple[str, str]]:
    """Options of a data set, and of those it wraps, that name a file or a folder, with the path they come to.

    As MMEngine's ``BaseDataset`` does, ``data_root`` is put before a relative path.
    """
    if not isinstance(dataset, dict):
        return
    for key in ('dataset', 'datasets'):
        inner = dataset.get(key)
        for i, entry in enumerate(inner) if isinstance(inner, (list, tuple)) else [(None, inner)]:
            yield from named_paths(entry, f'{option}.{key}' + ('' if i is None else f'.{i}'))
    root = dataset.get('data_root')
    if isinstance(root, str) and root:
        yield f'{option}.data_root', root
    prefixes = dataset.get('data_prefix')
    named = {f'data_prefix.{k}': v for k, v in prefixes.items()} if isinstance(prefixes, dict) else {}
    for key, path in {'ann_file': dataset.get('ann_file'), **named}.items():
        if isinstance(path, str) and path:
            yield f'{option}.{key}', os.path.join(root or '', path)


def check_data(cfg: Config, *loaders: str) -> None:
    """Check that what ``loaders`` of a config read is there; what is not local is left to the data set.

    Of configs with a ``data_source`` alone: a data set of another config may download what it lacks.

    Raises:
        FileNotFoundError: something is missing; the message has the paths, their options and the config's
            ``data_source``: how the data set lies on disk and who publishes it.
    """
    if not cfg.get('data_source'):
        return
    missing: dict[str, list[str]] = {}
    for name in loaders:
        loader = cfg.get(name)
        for one in loader if isinstance(loader, (list, tuple)) else [loader]:
            for option, path in named_paths((one or {}).get('dataset'), f'{name}.dataset'):
                if '://' not in path and not os.path.exists(path):
                    missing.setdefault(path, []).append(option)
    roots = [path for path in missing if any(option.endswith('.data_root') for option in missing[path])]
    shown = {p: o for p, o in missing.items() if p in roots or not any(p.startswith(root) for root in roots)}
    if shown:
        lines = [f'  {path}  ({", ".join(options)})' for path, options in shown.items()]
        listed = '\n'.join(lines)
        options = ' '.join(f'{option}=PATH' for options in shown.values() for option in options)
        raise FileNotFoundError(
            f'the data of this config is not there:\n{listed}\n{cfg.data_source}\n'
            f'In another place: --cfg-options {options}'
        )
