"""Clear errors for misspelt options."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Callable


def check_arguments(target: Callable[..., Any], given: Mapping[str, Any] | Iterable[str], what: str) -> None:
    """Raise ValueError where ``given`` has a name that ``target`` does not take.

    The message names the wrong option, the nearest right one and all that are allowed.
    """
    allowed = [name for name in inspect.signature(target).parameters if name != 'self']
    for name in given:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f'did you mean {near[0]!r}? ' if near else ''
            raise ValueError(f'{what} has no option {name!r}; {hint}choose from {sorted(allowed)}')
