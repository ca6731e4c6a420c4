"""A convolution that takes the time of its spikes: dense or by events, whichever measures faster.

A layer is measured with the first images of each size, both ways, and again when the share of its inputs that are not 0
has changed by a quarter. By events it returns the dense convolution summed in another order, whatever its input: values
that are neither 0 nor 1 are factors of their weights.

The kernels (:mod:`.event_kernels`) are compiled by numba with the first images, within seconds, and kept on disk.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import clip_ops
from .leaky_neurons import LIF, Leaky, LearnableLIF

ROUNDS = 3  # of a measurement, dense and events in turns
DRIFT = 0.25  # of the rate, relative, after which a layer is measured anew
SLACK = 0.02  # of the rate, absolute: events count some rows of an image twice
DENSE = 0.6  # the rate from which events are not tried
LOOK = 64  # calls of a dense layer between two looks at its rate


Key = tuple[tuple[int, ...], int]


def _key(images: Tensor) -> Key:
    """What a measurement is of: the shape of the input, and the number of threads."""
    return tuple(images.shape), torch.get_num_threads()


class Measured(NamedTuple):
    """What was found about a layer: the share of its inputs that are not 0, and seconds a call; None: not tried."""

    rate: float
    dense: float | None = None
    events: float | None = None

    @property
    def by_events(self) -> bool:
        """Whether events were faster."""
        return self.events is not None and self.dense is not None and self.events < self.dense


class EventConv2d(nn.Conv2d):
    """A convolution that adds the weights of the inputs that are not 0, where that is faster.

    It has the parameters of the convolution that it is made of, and is that convolution where events do not serve: with
    a gradient, in another type than fp32, on a GPU, within torch.compile.

    Attributes:
        measured: The last :class:`Measured`, by shape of the input and number of threads.
    """

    measured: dict[Key, Measured]
    _neuron: tuple[Any, str] | None  # the one whose spikes are the input and are read here alone, and its operator
    _rows: Any  # weights as the kernels take them
    _calls: int
    _broken = False  # whether the kernels cannot be compiled here

    @staticmethod
    def takes(conv: nn.Module) -> bool:
        """Whether events serve a layer: a convolution neither in groups nor dilated, padded by less than its size."""
        if type(conv) is not nn.Conv2d or conv.groups > 1 or conv.padding_mode != 'zeros' or set(conv.dilation) != {1}:
            return False
        return not isinstance(conv.padding, str) and all(p < k for p, k in zip(conv.padding, conv.kernel_size))

    @classmethod
    def of(cls, conv: nn.Module) -> EventConv2d:
        """The same convolution, with its parameters."""
        new = cls.__new__(cls)
        new.__dict__.update(vars(conv), measured={}, _neuron=None, _rows=None, _calls=0)
        return new

    def read(self, neuron: Any) -> None:
        """Have a neuron whose spikes are read here alone fire bytes, a quarter of the memory, where they are events."""
        if getattr(neuron, 'has_operator', False) and getattr(neuron, 'max_value', 1) < 256:
            self._neuron = neuron, neuron.operator  # in a tuple, which makes it no part of this layer

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._rows = None
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._rows = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:  # what was found here does not hold elsewhere
        self._fire(False)
        return {**vars(self), '_rows': None, 'measured': {}}

    def _fire(self, as_bytes: bool) -> None:
        if self._neuron is not None:
            neuron, floats = self._neuron
            neuron.operator = f'{type(neuron).operator}_bytes' if as_bytes else floats

    def dense(self, x: Tensor) -> Tensor:
        """The convolution as torch has it, of floats or bytes."""
        return super().forward(x.to(self.weight.dtype) if x.dtype == torch.uint8 else x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to images (B, out_channels, H', W')."""
        if not self._serves(x):
            return self.dense(x)
        found = self.measured.get(_key(x))
        if found is None:
            found = self.measured[_key(x)] = self._measure(x)
        self._fire(found.by_events)
        if found.by_events:
            out, rate = self.events(x)
        else:
            out, rate = self.dense(x), found.rate
            self._calls += 1
            if self._calls % LOOK == 0:
                rate = _rate(x)
        self._look(_key(x), rate)
        return out

    def _look(self, key: Key, rate: float) -> None:
        """Have the next call measure anew where the rate is another."""
        found = self.measured.get(key)
        if found is not None and abs(rate - found.rate) > DRIFT * found.rate + SLACK:
            self.measured.pop(key, None)

    def _serves(self, x: Tensor) -> bool:
        return (
            type(x) is Tensor  # neither traced nor of a transform
            and x.device.type == 'cpu'
            and x.dtype in (torch.float32, torch.uint8)
            and self.weight.dtype == torch.float32
            and x.dim() == 4
            and x.shape[1] == self.in_channels
            and x.numel() > 0
            and not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))
            and not torch.is_autocast_enabled('cpu')
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and not self._broken
        )

    def _measure(self, x: Tensor) -> Measured:
        """Both ways in turns, after a call of each that compiles kernels and lays out weights."""
        rate = _rate(x)
        if rate >= DENSE:
            return Measured(rate)
        spikes = x if self._neuron is None else x.to(torch.uint8)
        try:
            self.events(spikes)
        except MemoryError:
            raise
        except Exception as error:
            EventConv2d._broken = True
            warnings.warn(
                f'numba cannot compile the kernels of events ({type(error).__name__}: {error}): all convolutions are '
                'dense. Install a numba that fits this Python and numpy: pip install --upgrade numba',
                stacklevel=2,
            )
            return Measured(rate)
        x = x.to(self.weight.dtype)
        self.dense(x)
        times = [(_seconds(self.dense, x), _seconds(self.events, spikes)) for _ in range(ROUNDS)]
        return Measured(rate, *map(min, zip(*times)))

    def events(self, x: Tensor, neuron: Leaky | None = None) -> tuple[Tensor, float]:
        """The convolution by events, whatever was measured, and the share of inputs that are not 0.

        Args:
            x: Images (B, C, H, W) on CPU, in fp32 or bytes, of any layout; with a ``neuron`` a clip TBCHW.
            neuron: A leaky one, whose spikes are to be returned, as bytes where it fires bytes.
        """
        if self._rows is None:
            kernels = importlib.import_module(f'{__package__}.event_kernels')
            self._rows = kernels.Rows(self.weight.detach().numpy(), _numpy(self.bias))
        constants: Any = None if neuron is None else neuron.constants(x)
        x = x.detach().movedim(-3, -1).contiguous()
        geometry: Any = (self.kernel_size, self.stride, self.padding)
        size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[-3:], *geometry)]
        dtype = torch.uint8 if neuron and neuron.operator.endswith('_bytes') else torch.float32
        out = torch.empty(*x.shape[:-3], *size, self.out_channels, dtype=dtype)
        constants = constants and clip_ops.leaky_constants(*constants)
        rate = self._rows.convolve(x.numpy(), out.numpy(), sum(geometry, ()), constants)
        return out.movedim(-1, -3), rate

    def fire(self, x: Tensor, neuron: Any) -> Tensor | None:
        """Spikes of a neuron that alone reads the result, of a clip TBCHW; None where it has to fire by itself.

        The neuron fires as the sums end: its membranes never leave the cache.
        """
        key = _key(x.flatten(0, 1))
        if (
            key not in self.measured
            or not self.measured[key].by_events
            or type(neuron) not in (LIF, LearnableLIF)
            or (neuron.step_mode, neuron.store_v_seq) != ('m', False)
            or neuron._forward_hooks or neuron._forward_pre_hooks or self._forward_hooks or self._forward_pre_hooks
            or torch.is_grad_enabled()
            or not self._serves(x[0])
        ):  # fmt: skip
            return None
        out, rate = self.events(x, neuron)
        self._look(key, rate)
        return out


def _numpy(x: Tensor | None) -> Any:
    return None if x is None else x.detach().numpy()


def _rate(x: Tensor) -> float:
    return int(x.count_nonzero()) / x.numel()


def _seconds(function: Callable[[Tensor], object], x: Tensor) -> float:
    start = time.perf_counter()
    function(x)
    return time.perf_counter() - start
