"""Packages whose public classes are those of the registries, imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmsvf.frameworks import missing_framework


def exports(package: str, *registries: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its name, in which the entries' modules stand.
        registries: Names in :mod:`mmsvf.registry`, which is imported with the first class: not all of a package's
            modules need MMEngine.
    """

    def declared() -> dict[str, Callable[[], type]]:
        try:
            from mmsvf import registry
        except ImportError as error:
            raise missing_framework(error, package) from error
        return {k: v for name in registries for k, v in getattr(registry, name).declared(package).items()}

    def get(name: str) -> Any:
        found = {} if name.startswith('_') else declared()
        if name not in found:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return found[name]()

    return get, lambda: sorted(declared())
