"""Clear errors for a user's mistakes."""

from __future__ import annotations

import difflib
import functools
import inspect
import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Callable, TypeGuard

from torch import Tensor, nn


def renamed(**names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function that takes ``old='new'`` names, too: for one release, with a warning.

    Where both come, the old one is taken: a config that sets it inherits the new one from a base of ours.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                new, value = names[old], kwargs[old]
                message = f'{old}={value!r} is {new}={value!r} now; the next release takes no {old}='
                if kwargs.get(new, value) != value:
                    message += f'; it replaces {new}={kwargs[new]!r}'
                warnings.warn(message, FutureWarning, stacklevel=2)
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        call.former_names = names  # type: ignore[attr-defined]
        return call

    return decorate


def check_arguments(target: Callable[..., Any], given: Mapping[str, Any] | Iterable[str], what: str) -> None:
    """Raise ValueError where ``given`` has a name that ``target`` does not take.

    The message names the wrong option, the nearest right one and all that are allowed. Of a class that hands
    ``**kwargs`` on these are its bases', too; where the last of them takes any, there is no wrong one.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f'{what}={given!r}; a dict of options, of {sorted(_options(target)[0])}')
    allowed, any_other = _options(target)
    former = getattr(target.__init__ if isinstance(target, type) else target, 'former_names', ())
    for name in given:
        if name not in allowed and name not in former and not any_other:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f'did you mean {near[0]!r}? ' if near else ''
            if name == '_delete_':  # MMEngine takes it away where it deletes
                hint = 'leave it out, since the base config has nothing to delete there; '
            choice = f'choose from {sorted(allowed)}' if allowed else 'it takes none'
            raise ValueError(f'{what} has no option {name!r}; {hint}{choice}')


def check_complete(function: Callable[..., Any], given: Mapping[str, Any], what: str) -> None:
    """Raise ValueError where :func:`check_arguments` does, and where ``given`` lacks what ``function`` needs."""
    check_arguments(function, given, what)
    parameters = inspect.signature(function).parameters.values()
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in given]
    if missing:
        raise ValueError(f'{what}={dict(given)}; it needs {" and ".join(missing)}, too')


def _options(target: Callable[..., Any]) -> tuple[set[str], bool]:
    """Names of what a function, or a class and those it hands ``**kwargs`` on to, takes; whether it takes others."""
    kind = target if isinstance(target, type) else None
    makers = [vars(k)['__init__'] for k in kind.__mro__ if '__init__' in vars(k)] if kind else [target]
    names: set[str] = set()
    more = False
    for number, maker in enumerate(makers):
        if maker in (nn.Module.__init__, object.__init__):  # they take none
            break
        parameters = inspect.signature(maker).parameters.values()
        # what a base needs is given by the class itself
        named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != 'self')
        names.update(p.name for p in named if number == 0 or p.default is not p.empty)
        more = any(p.kind == p.VAR_KEYWORD for p in parameters)
        if not more:
            break
    return names, more


def is_number(value: Any) -> TypeGuard[float]:
    """Whether an option is a number, and not text or a list."""
    return isinstance(value, Real)


def check_count(name: str, value: Any, otherwise: str = '') -> None:
    """Raise ValueError where an option is not a whole number of at least 1; ``otherwise`` says what else it may be."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f'{name}={value!r}; at least 1, a whole number{otherwise}')


def check_heads(num_heads: Any, channels: int) -> None:
    """Raise ValueError where attention heads do not share the channels evenly."""
    check_count('num_heads', num_heads)
    if channels % num_heads:
        raise ValueError(f'num_heads={num_heads} does not divide the width {channels}; choose a divisor of {channels}')


def check_filled(what: str, x: Tensor, axes: str) -> None:
    """Raise ValueError where a tensor with these ``axes`` has no values: no sample, no frame or no pixel."""
    if x.numel() == 0:
        raise ValueError(f'{what} got an empty input of shape {tuple(x.shape)}, which is ({axes}): at least 1 of each')


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ValueError where a label is no class, which on a GPU ends the process; torch's losses ignore -100.

    Labels that are scores, one per class, pass.
    """
    if labels.is_floating_point():
        return
    wrong = labels[(labels != -100) & ((labels < 0) | (labels >= classes))]
    if len(wrong):
        raise ValueError(
            f'labels {wrong.unique().tolist()} with num_classes={classes}; 0 to {classes - 1}: correct the annotations '
            'or set num_classes of the head'
        )
