"""Neurons by name: presets and types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Callable, Union

from torch import Tensor, nn

from mmsvf.arguments import check_arguments
from mmsvf.plug_ins import build, find

from .from_rest import FromRest  # noqa: F401
from .integer_neurons import IntegerLIF, sum_sub_steps, unroll_integer_spikes  # noqa: F401
from .leaky_neurons import LIF, LearnableLIF
from .surrogates import build_surrogate  # noqa: F401

NeuronSpec = Union[str, Mapping[str, Any], Callable[..., nn.Module]]


class Rectifier(nn.ReLU):
    """max(0, x), each step by itself: for the twin of a network that neither spikes nor remembers (docs/evidence.md).

    torch's has no threshold, which layers give to their neurons; this one ignores it.
    """

    def __init__(self, v_threshold: float = 1.0) -> None:
        super().__init__()

    def advance(self, x: Tensor, past: None) -> tuple[Tensor, dict[str, Tensor]]:
        """The output, and that nothing is remembered (:mod:`mmsvf.spiking.continuation`)."""
        return super().forward(x), {}


NEURONS: dict[str, Any] = {'LIF': LIF, 'LearnableLIF': LearnableLIF, 'IntegerLIF': IntegerLIF, 'Rectifier': Rectifier}

PRESETS: dict[str, dict[str, Any]] = {
    # the authors' code, which their checkpoints need
    'official': dict(type='LIF', tau=2.0, decay_input=True, v_reset=0.0, detach_reset=True, strict=False),
    # the equations of Sec. 3.1; the paper gives no beta, 1 - 1/tau = 0.5 is the code's
    'paper': dict(type='LIF', tau=2.0, decay_input=False, v_reset=None, detach_reset=True, strict=True),
    # integrate-and-fire: no leak
    'IF': dict(type='LIF', tau=math.inf, decay_input=False, v_reset=0.0, detach_reset=True, strict=False),
}


def build_neuron(spec: NeuronSpec | None = 'official', **overrides: Any) -> nn.Module:
    """A neuron from a preset's name or from ``dict(type=..., **arguments)``.

    ``type`` is a class ('LIF', 'LearnableLIF', 'IntegerLIF', 'Rectifier', or one's own: a module of (T, ...) to spikes
    of that shape that takes ``v_threshold``; see :mod:`mmsvf.plug_ins`) or a preset ('official', 'paper', 'IF')
    whose values the other arguments replace. ``overrides`` replace both: a layer's own
    threshold, for example. None is no neuron: values pass as they are.

    Raises:
        ValueError: unknown type or argument.

    Example:
        >>> from mmsvf.spiking import build_neuron
        >>> build_neuron('paper', v_threshold=0.5).v_threshold
        0.5
        >>> build_neuron(dict(type='IntegerLIF', max_value=2)).max_value
        2
    """
    if spec is None:
        return nn.Identity()
    arguments = dict(spec) if isinstance(spec, Mapping) else dict(type=spec)
    name: Any = arguments.pop('type', 'official')
    preset = dict(PRESETS.get(name, {})) if isinstance(name, str) else {}
    kind = preset.pop('type', name)
    found = find('neuron', kind, NEURONS, f', a preset of {sorted(PRESETS)}')
    arguments = {**preset, **arguments, **overrides}
    check_arguments(found, overrides, f'neuron {name!r}, to which a layer gives {", ".join(overrides)},')
    return build(f'neuron {name!r}', found, **arguments)
