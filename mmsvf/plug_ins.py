"""Parts by name: a table's, or those that others have registered.

The spiking parts run without OpenMMLab; with it, :mod:`mmsvf.registry` adds the look-up of its ``MODELS`` to
:data:`SOURCES`, so that a config names a user's own neuron, score or attention as it names any other module.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Callable

from torch import Tensor, nn

from .arguments import check_arguments

SOURCES: list[Callable[[str], Any]] = []


def find(what: str, name: Any, table: Mapping[str, Any], also: str = '') -> Any:
    """The part called ``name``: an entry of ``table`` or of a source, or ``name`` itself if it is a class or function.

    Raises:
        ValueError: there is none; the message has the names of the table and ``also``.
    """
    if callable(name):
        return name
    if isinstance(name, str):
        if name in table:
            return table[name]
        for source in SOURCES:
            if (found := source(name)) is not None:
                return found
    raise ValueError(
        f'{what}={name!r}; choose one of {sorted(table)}{also}, or your own: the class or function itself, '
        'or its name in mmsvf.registry.MODELS'
    )


class KeepsShape:
    """Forward hook of another's part: what it gives has the shape of what it is given, or broadcasting hides that.

    Args:
        what: The part, for the message.
        channels: Of what it gives TBCHW; None: as many as it is given.
    """

    def __init__(self, what: str, channels: int | None = None) -> None:
        self.what, self.channels = what, channels

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        """Raise ValueError of another shape."""
        given = inputs[0].shape
        wanted = given if self.channels is None else (*given[:2], self.channels, *given[3:])
        check_shape(self.what, output, wanted, given)


def check_shape(what: str, output: Any, wanted: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Raise ValueError where a part gives another shape than the ``wanted`` one."""
    if not isinstance(output, Tensor) or output.shape != wanted:
        got = tuple(output.shape) if isinstance(output, Tensor) else f'a {type(output).__name__}'
        raise ValueError(
            f'{what} gives {got} for an input of shape {tuple(given)}; have it return a tensor of shape {tuple(wanted)}'
        )


def build(what: str, kind: Callable[..., Any], *args: Any, channels: int | None = None, **kwargs: Any) -> Any:
    """A part of a class that :func:`find` gave; the outputs of one that is not of mmsvf are looked at.

    Args:
        what: The part, for messages.
        kind: Its class, or a function that makes it.
        *args: Positional arguments.
        channels: As of :class:`KeepsShape`.
        **kwargs: Others.

    Raises:
        ValueError: arguments that it does not take or that are missing, or no module.
    """
    check_arguments(kind, kwargs, what)
    signature = inspect.signature(kind)
    try:  # names beyond these are former ones
        signature.bind(*args, **{name: kwargs[name] for name in kwargs.keys() & signature.parameters.keys()})
    except TypeError as error:
        raise ValueError(
            f'{what} cannot be made: {error}; give the class of a torch.nn.Module, with its arguments beside type'
        ) from None
    module = kind(*args, **kwargs)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f'{what} makes a {type(module).__name__}; it must be a torch.nn.Module: derive the class from it'
        )
    if not type(module).__module__.startswith('mmsvf.'):
        module.register_forward_hook(KeepsShape(what, channels))
    return module
