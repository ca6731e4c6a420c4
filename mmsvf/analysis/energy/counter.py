"""Counts the products of a PyTorch model as they are run: modules, functional calls and matrix products alike.

Every convolution, linear layer and matrix product of torch passes its dispatcher; there its two operands
are looked at (:mod:`.signals`). Norms, neurons, pooling, additions and rescaling are not counted, as
in the literature on spiking networks. A product that there is no formula for, such as a deformable convolution or an
FFT, is named in a warning. What never passes the dispatcher, as kernels of one's own, is not seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from mmsvf.arguments import check_count, renamed

from .products import FLOPS, OPERANDS, PRODUCTS, SEVERAL, words
from .signals import REAL, Signal, look

aten = torch.ops.aten


@dataclass
class Operation:
    """A product that was run.

    Attributes:
        layer: Name of the layer: that of the module with the weight; of two activations, the innermost
            module that is running, with the product's number in it, as 'attn.read[1]'.
        kind: Name of the operation.
        macs: Multiply-adds, every operand taken as dense.
        signal: What the layer's input carries; of a product of two activations, the one that
            gates the other.
        additions: Additions left where the input needs no multiplication; None if it does.
    """

    layer: str
    kind: str
    macs: int
    signal: Signal
    additions: float | None


@dataclass
class Layer:
    """The operations of one layer, added up.

    Attributes:
        name: As in the model; '' is the model itself.
        kind: Name of the operation.
        parameters: Of the layer's module, its children left out.
        operations: In the order they were run.
    """

    name: str
    kind: str
    parameters: int
    operations: list[Operation] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """Multiply-adds, dense."""
        return sum(o.macs for o in self.operations)

    @property
    def signal(self) -> str:
        """The kind of its input; 'real' if one of several was."""
        kinds = [o.signal.kind for o in self.operations]
        order = ('real', 'signed', 'integer', 'sign', 'binary')
        return min(kinds, key=order.index)

    @property
    def additions(self) -> float | None:
        """Additions, or None if an input needs multiplications."""
        values = [o.additions for o in self.operations]
        return None if None in values else sum(v for v in values if v is not None)

    @property
    def rate(self) -> float | None:
        """Mean value of its input spikes, weighted by multiply-adds; None of an input that is no spikes."""
        if not all(o.signal.spikes for o in self.operations):
            return None
        return sum(o.signal.rate * o.macs for o in self.operations) / max(1, self.macs)

    @property
    def rates(self) -> tuple[float, ...] | None:
        """The rate of each time step, where it is known."""
        rates = [o.signal.rates for o in self.operations if o.signal.rates is not None]
        if self.rate is None or len(rates) < len(self.operations) or len({len(r) for r in rates}) != 1:
            return None
        return tuple(sum(step) / len(rates) for step in zip(*rates))


GATES = ('binary', 'sign', 'integer')


def gate_product(macs: int, a: Signal, b: Signal, product: Tensor) -> tuple[Signal, float | None]:
    """The operand that gates a product, and the additions that are left of its multiply-adds.

    Two binary operands meet where both spike, which is what the product counts. Otherwise spikes add
    the other operand as often as they fire, and signs add or subtract it every time; a binary
    operand comes first, then signs, then integer spikes. None: it multiplies.
    """
    gates = sorted((x for x in (a, b) if x.kind in GATES), key=lambda x: GATES.index(x.kind))
    if not gates:
        return a, None
    if a.kind == b.kind == 'binary':
        return gates[0], float(product.sum(dtype=torch.float64))
    return gates[0], macs * gates[0].rate


@dataclass
class _Frame:
    """A module that is running, and how many products without a weight it has run."""

    name: str
    module: nn.Module
    products: int = 0


class _Dispatch(TorchDispatchMode):
    """Hands every operation, composite ones in their parts, to a function after it was run."""

    def __init__(self, count: Callable[..., None]) -> None:
        super().__init__()
        self.count = count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in FLOPS and func is not torch.ops.prim.device.default:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        self.count(packet, args, kwargs, out)
        return out


class OperationCounter:
    """Counts the products that are run while it is entered; ``layers`` has them.

    ``not_counted`` names the operations that multiply, too, but have no formula here; a warning does.

    Args:
        model: Model whose layers are named.
        time_steps: Time steps T of the clip, for rates by time step.
        ignore: Types of modules whose products are left out.

    Example:
        >>> from mmsvf.analysis.energy import OperationCounter
        >>> linear = nn.Linear(4, 2)
        >>> with OperationCounter(linear) as counter:
        ...     _ = linear(torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
        >>> [(layer.signal, layer.macs, layer.additions) for layer in counter.layers]
        [('binary', 8, 4.0)]
    """

    @renamed(steps='time_steps')
    def __init__(self, model: nn.Module, time_steps: int | None = None, ignore: Sequence[type[nn.Module]] = ()) -> None:
        if time_steps is not None:
            check_count('time_steps', time_steps)
        self.model, self.time_steps, self.ignore = model, time_steps, tuple(ignore)
        self.operations: list[Operation] = []
        self.not_counted: set[str] = set()
        self._stack: list[_Frame] = []
        self._handles: list[Any] = []
        self._weights: dict[StorageWeakRef, str] = {}
        self._dispatch = _Dispatch(self._count)

    def __enter__(self) -> OperationCounter:
        for name, module in self.model.named_modules():
            for parameter in module.parameters(recurse=False):
                self._weights.setdefault(StorageWeakRef(parameter.untyped_storage()), name)
            self._handles.append(module.register_forward_pre_hook(self._push(name)))
            self._handles.append(module.register_forward_hook(self._pop, always_call=True))
        torch.clear_autocast_cache()  # of weights that were cast before, out of sight
        self._fastpath = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # which is one operation, whatever is in it
        self._dispatch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._dispatch.__exit__(*error)
        torch.backends.mha.set_fastpath_enabled(self._fastpath)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._stack.clear()
        self._weights.clear()
        if self.not_counted:
            warnings.warn(f'these operations multiply and are not counted: {sorted(self.not_counted)}', stacklevel=2)

    def _push(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, _: Any) -> None:
            self._stack.append(_Frame(name, module))

        return hook

    def _pop(self, *_: Any) -> None:
        if self._stack:
            self._stack.pop()

    def _owner(self, x: Tensor) -> str | None:
        """The layer whose weight a tensor is; None of an activation."""
        return self._weights.get(StorageWeakRef(x.untyped_storage())) if x.layout == torch.strided else None

    def _count(self, packet: Any, args: Any, kwargs: Any, out: Any) -> None:
        if packet is aten._to_copy:
            if (name := self._owner(args[0])) is not None:  # what autocast makes of a weight is the layer's, too
                self._weights[StorageWeakRef(out.untyped_storage())] = name
            return
        if not words(packet) & PRODUCTS or any(isinstance(frame.module, self.ignore) for frame in self._stack):
            return
        if packet not in FLOPS:
            self.not_counted.add(str(packet))
            return
        macs = FLOPS[packet](*args, **kwargs, out_val=out) // 2
        kind = packet.__name__.lstrip('_')
        a, b = (args[i] for i in OPERANDS.get(packet, (0, 1)))
        b = b[0] if isinstance(b, list) else b  # the weights of a recurrent layer
        for x, weight in ((a, b), (b, a)):
            if (name := self._owner(weight)) is not None:
                signals = look(x, self.time_steps), REAL
                break
        else:
            frame = self._stack[-1] if self._stack else _Frame('', self.model)
            frame.products += 1
            name = f'{frame.name}[{frame.products}]'
            signals = look(a), look(b)
        signal, count = (REAL, None) if words(packet) & SEVERAL else gate_product(macs, *signals, out)
        self.operations.append(Operation(name, kind, macs, signal, count))

    @property
    def layers(self) -> list[Layer]:
        """Layers in the order they were first run."""
        modules = dict(self.model.named_modules())
        layers: dict[str, Layer] = {}
        for operation in self.operations:
            name = operation.layer
            if name not in layers:
                module = modules.get(name)
                own = 0 if module is None else sum(p.numel() for p in module.parameters(recurse=False))
                layers[name] = Layer(name, operation.kind, own)
            layers[name].operations.append(operation)
        return list(layers.values())
