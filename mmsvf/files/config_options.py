"""Options that change a config, as those of ``--cfg-options``."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Override values of a config, in place; of ``custom_imports`` the modules are imported, as those in a file are.

    Raises:
        ValueError: an entry that the config does not have, and that is nearly one that it or a Runner has.
    """
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, 'custom_imports', 'tta_model', 'tta_pipeline'}
    for key in options:
        name = key.split('.')[0]
        near = difflib.get_close_matches(name, known - {'self'}, 1, cutoff=0.8)
        if name not in known and near:
            raise ValueError(f'--cfg-options {key}: the config has no {name!r}; did you mean {near[0]!r}?')
    cfg.merge_from_dict(options)
    if any(key.split('.')[0] == 'custom_imports' for key in options):
        import_modules_from_strings(**cfg.custom_imports)
