"""Configs that came out of checkpoints: programs, which are not run."""

from __future__ import annotations

from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

from .values import REFUSED

_configs: set[str] = set()


def keep_configs(checkpoint: Any) -> None:
    """Remember the configs in a checkpoint, which are programs, for :func:`refuse_stored_config`."""
    if not isinstance(checkpoint, Mapping):
        return
    hub = checkpoint.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, Mapping) else None
    for part in (checkpoint.get('meta'), info):
        if isinstance(part, Mapping):
            _configs.update(text for text in part.values() if isinstance(text, str))


def refuse_stored_config(text: Any) -> None:
    """Raise UnpicklingError for the text of a config that came out of a checkpoint.

    A config can run any command: ``dict(type='os.system', ...)`` is enough, whatever builds it.
    """
    if text in _configs:
        raise UnpicklingError(
            f'{REFUSED}: a config stored in a checkpoint is a program, and is not run. Give the config file itself '
            "(an inferencer's model='configs/NAME.py'); if you trust the checkpoint, write its meta['cfg'] into a file"
        )
