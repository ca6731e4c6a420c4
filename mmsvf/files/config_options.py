"""Options that change a config, as those of ``--cfg-options``."""

from __future__ import annotations

import argparse
import difflib
import inspect
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings


class OptionsAction(DictAction):
    """MMEngine's, which ends in a thousand calls of itself where a value is a ``dict(...)``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Keys and values of ``KEY=VALUE``."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, RecursionError, ValueError):
            parser.error(
                f'{option_string} {" ".join(values)}: KEY=VALUE is expected, with lists as KEY="[a,b]", what is in a '
                'dict as KEY.NAME=VALUE each'
            )


def _make_way(cfg: Any, key: str) -> None:
    """Have a name, such as ``arch='large'``, give way to a dict of what an option has below it."""
    *names, _ = key.split('.')
    for name in names:
        index: Any = int(name) if isinstance(cfg, (list, tuple)) and name.isdecimal() else name
        try:
            child = cfg[index]
        except (LookupError, TypeError):
            return
        if isinstance(child, str) and name != 'type':
            cfg[index] = child = {}
        cfg = child


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Override values of a config, in place; of ``custom_imports`` the modules are imported, as those in a file are.

    Options below a name, as ``model.backbone.arch.depths`` where the config has ``arch='large'``, replace it.

    Raises:
        ValueError: an entry that the config does not have, and that is nearly one that it or a Runner has; or one below
            a value that has none.
    """
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, 'custom_imports', 'tta_model', 'tta_pipeline'}
    for key in options:
        name = key.split('.')[0]
        near = difflib.get_close_matches(name, known - {'self'}, 1, cutoff=0.8)
        if name not in known and near:
            raise ValueError(f'--cfg-options {key}: the config has no {name!r}; did you mean {near[0]!r}?')
        _make_way(cfg, key)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        raise ValueError(f'--cfg-options: {error}') from error
    if any(key.split('.')[0] == 'custom_imports' for key in options):
        import_modules_from_strings(**cfg.custom_imports)
