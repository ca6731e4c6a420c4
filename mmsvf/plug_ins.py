"""Parts by name: a table's, or those that others have registered.

The spiking parts run without OpenMMLab; with it, :mod:`mmsvf.registry` adds the look-up of its ``MODELS`` to
:data:`SOURCES`, so that a config names a user's own neuron, score or attention as it names any other module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

SOURCES: list[Callable[[str], Any]] = []


def find(what: str, name: Any, table: Mapping[str, Any], also: str = '') -> Any:
    """The part called ``name``: an entry of ``table`` or of a source, or ``name`` itself if it is a class or function.

    Raises:
        ValueError: there is none; the message has the names of the table and ``also``.
    """
    if callable(name):
        return name
    if name in table:
        return table[name]
    for source in SOURCES:
        if (found := source(name)) is not None:
            return found
    raise ValueError(
        f'{what}={name!r}; choose one of {sorted(table)}{also}, or your own: the class or function itself, '
        'or its name in mmsvf.registry.MODELS'
    )
