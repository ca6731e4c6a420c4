"""A convolution that takes the time of its spikes: dense or by events, whichever measures faster.

A layer is measured with the first images of each size, both ways, and again when the share of its inputs that are not 0
has changed by a quarter. By events it returns the dense convolution summed in another order, whatever its input: values
that are neither 0 nor 1 are factors of their weights.

The kernels (:mod:`.event_kernels`) are compiled by numba with the first images, within seconds, and kept on disk.
"""

from __future__ import annotations

import contextlib
import importlib
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

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
    _waits: dict[Key, tuple[int, int]]  # measurements, and other rates to pass over before the next
    _rows: Any  # weights as the kernels take them, and of which tensors they are
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
        new.__dict__.update(vars(conv), measured={}, _waits={}, _rows=None, _calls=0)
        return new

    def __getstate__(self) -> dict[str, Any]:  # what was found here does not hold elsewhere
        return {**vars(self), '_rows': None, 'measured': {}, '_waits': {}}

    def dense(self, x: Tensor) -> Tensor:
        """The convolution as torch has it, of floats or bytes."""
        return super().forward(x.to(self.weight.dtype) if x.dtype == torch.uint8 else x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to images (B, out_channels, H', W')."""
        if not self.serves(x):
            return self.dense(x)
        key = _key(x)
        found = self.measured.get(key)
        if found is None:
            found = self.measured[key] = self._measure(x)
        if found.by_events:
            out, rate = self.events(x)
        else:
            out, rate = self.dense(x), found.rate
            self._calls += 1
            if self._calls % LOOK == 0:
                rate = _rate(x)
        self._look(key, rate)
        return out

    def takes_events(self, shape: Sequence[int], like: Tensor) -> bool:
        """Whether events were faster for images of a clip TBCHW of such a shape, where ``like`` is."""
        steps, batch, *image = shape
        found = self.measured.get(((steps * batch, *image), torch.get_num_threads())) if unobserved(like) else None
        plain = like.device.type == self.weight.device.type == 'cpu' and self.weight.dtype == torch.float32
        return found is not None and found.by_events and plain and unobserved(self.weight) and not self._broken

    def _look(self, key: Key, rate: float) -> None:
        """Have the next call measure anew where the rate is another; twice as rarely each time."""
        found = self.measured.get(key)
        if found is None or abs(rate - found.rate) <= DRIFT * found.rate + SLACK:
            return
        times, waits = self._waits.get(key, (0, 0))
        if waits:
            self._waits[key] = times, waits - 1
        else:
            self._waits[key] = times + 1, 2**times
            self.measured.pop(key, None)

    def serves(self, x: Tensor) -> bool:
        """Whether events can take the place of the convolution for this input, whatever is faster."""
        return (
            unobserved(x, self.weight)
            and x.device.type == self.weight.device.type == 'cpu'
            and x.dtype in (torch.float32, torch.uint8)
            and self.weight.dtype == torch.float32
            and x.dim() == 4
            and x.shape[1] == self.in_channels
            and x.numel() > 0
            and all(n + 2 * p >= k for n, p, k in zip(x.shape[2:], self._padding(), self.kernel_size))
            and not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))
            and not self._broken
        )

    def _padding(self) -> tuple[int, ...]:
        assert not isinstance(self.padding, str)
        return self.padding

    def _measure(self, x: Tensor) -> Measured:
        """Both ways in turns, after a call of each that compiles kernels and lays out weights."""
        rate = _rate(x)
        bias = self.weight if self.bias is None else self.bias
        if rate >= DENSE or not (self.weight.isfinite().all() and bias.isfinite().all()):  # 0 times infinity is no 0
            return Measured(rate)
        self.dense(x)
        try:
            self.events(x)
        except (MemoryError, RuntimeError):
            raise
        except Exception as error:
            EventConv2d._broken = True
            warnings.warn(
                f'numba cannot compile the kernels of events ({type(error).__name__}: {error}): all convolutions are '
                'dense. Install a numba that fits this Python and numpy: pip install --upgrade numba',
                stacklevel=2,
            )
            return Measured(rate)
        floats = x.to(self.weight.dtype)
        times = [(_seconds(self.dense, floats), _seconds(self.events, x)) for _ in range(ROUNDS)]
        found = Measured(rate, *map(min, zip(*times)))
        if not found.by_events:
            self._rows = None  # another size that takes events lays them out again
        return found

    def _laid_out(self) -> Any:
        """The weights as the kernels take them; anew where they have changed."""
        tensors = [x for x in (self.weight, self.bias) if x is not None]
        # tensors of inference mode have no version; a sum of every layer would take up to 14 % of its time
        of = [(x.data_ptr(), x.sum().item() if x.is_inference() else x._version) for x in tensors]
        if self._rows is None or self._rows[0] != of:
            kernels = importlib.import_module(f'{__package__}.event_kernels')
            bias = None if self.bias is None else self.bias.detach().numpy()
            self._rows = of, kernels.Rows(self.weight.detach().numpy(), bias)
        return self._rows[1]

    def events(self, x: Tensor, neuron: Leaky | None = None, as_bytes: bool = False) -> tuple[Tensor, float]:
        """The convolution by events, whatever was measured, and the share of inputs that are not 0.

        Args:
            x: Images (B, C, H, W) on CPU, in fp32 or bytes, of any layout; with a ``neuron`` a clip TBCHW.
            neuron: A leaky one, whose spikes are to be returned.
            as_bytes: Whether its spikes are to be bytes.
        """
        rows = self._laid_out()
        constants = None if neuron is None else neuron.constants(x)
        x = x.detach().movedim(-3, -1).contiguous()
        geometry: Any = (self.kernel_size, self.stride, self._padding())
        size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[-3:], *geometry)]
        out = torch.empty(*x.shape[:-3], *size, self.out_channels, dtype=torch.uint8 if as_bytes else torch.float32)
        prepared = None if constants is None else clip_ops.leaky_constants(*constants)
        rate = rows.convolve(x.numpy(), out.numpy(), sum(geometry, ()), prepared)
        return out.movedim(-1, -3), rate

    def fire(self, x: Tensor, neuron: Any, as_bytes: bool) -> Tensor | None:
        """Spikes of a neuron that alone reads the result, of a clip TBCHW; None where it has to fire by itself.

        The neuron fires as the sums end: its membranes never leave the cache.
        """
        if (
            not (is_plain(neuron, x) and self.takes_events(x.shape, x))
            or self._forward_hooks
            or self._forward_pre_hooks
        ):
            return None
        out, rate = self.events(x, neuron, as_bytes)
        self._look(_key(x.flatten(0, 1)), rate)
        return out


def unobserved(*tensors: Tensor) -> bool:
    """Whether nothing but a result is looked at: no trace, graph, transform, autocast or counter of operations."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled('cpu')
        and _get_current_dispatch_mode() is None
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in tensors)
        and all(type(x) in (Tensor, nn.Parameter) for x in tensors)
    )


def is_plain(neuron: Any, x: Tensor) -> bool:
    """Whether a neuron is a leaky one as written, whose spikes of a clip TBCHW nobody else sees."""
    return (
        type(neuron) in (LIF, LearnableLIF)
        and 'forward' not in vars(neuron)
        and not (neuron._forward_hooks or neuron._forward_pre_hooks or _has_any_global_hook())
        and (neuron.step_mode, neuron.store_v_seq) == ('m', False)
        and isinstance(neuron.v_threshold, (int, float))
        and unobserved(x)
        and not torch.is_grad_enabled()
        and neuron.constants(x) is not None
    )


def fire_bytes(neuron: Any, x: Tensor, reader: Any) -> Tensor:
    """Spikes of a neuron, of a clip TBCHW: bytes, a quarter of the memory, where their one reader takes events."""
    asked = isinstance(reader, EventConv2d) and not (reader._forward_hooks or reader._forward_pre_hooks)
    kernel = x.dtype == torch.float32 and clip_ops.has_kernel(x)
    if asked and kernel and is_plain(neuron, x) and reader.takes_events(x.shape, x):
        with contextlib.suppress(clip_ops.KernelError):  # nothing has been written
            return clip_ops.lif_bytes(x, *neuron.constants(x))
    return neuron(x)


def _rate(x: Tensor) -> float:
    return int(x.count_nonzero()) / x.numel()


def _seconds(function: Callable[[Tensor], object], x: Tensor) -> float:
    start = time.perf_counter()
    function(x)
    return time.perf_counter() - start
