"""The neurons' kernels as torch operators with a gradient, which torch.compile takes as they are.

On CPU the kernels are numba's, on GPU Triton's; the two modules have the same functions and are imported with the first
clip. Where they cannot be compiled, neurons run their explicit steps.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NUMBA = importlib.util.find_spec('numba') is not None
# Triton 3.3 or later, which torch 2.7 or later brings along on GPU
TRITON = importlib.util.find_spec('triton') is not None and tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 7)
HALF = torch.bfloat16, torch.float16


def has_kernel(x: Tensor) -> bool:
    """Whether there are kernels for this clip: (T, ...) in fp32 or half precision, whose membranes are fp32 as well."""
    device = x.device.type
    there = TRITON if device == 'cuda' else NUMBA and device in ('cpu', 'meta')
    return there and x.dtype in (torch.float32, *HALF) and x.dim() > 1 and x.shape[0] > 0


def kernels(x: Tensor) -> Any:
    """The module of kernels for the clip's device."""
    name = f'{__package__}.{"triton" if x.is_cuda else "numba"}_kernels'
    return sys.modules.get(name) or importlib.import_module(name)


class KernelError(RuntimeError):
    """numba's kernels cannot be compiled here: :func:`has_kernel` leaves all further clips to explicit steps."""


def run(kernel: str, x: Tensor, *arguments: Any) -> Any:
    """A kernel for the clip's device.

    Raises:
        KernelError: numba's cannot be compiled; nothing has been written.
    """
    global NUMBA
    try:
        return getattr(kernels(x), kernel)(*arguments)
    except MemoryError:  # of a kernel that runs: explicit steps take more
        raise
    except Exception as error:
        if x.is_cuda:
            raise
        NUMBA = False
        message = (
            f"numba cannot compile the neurons' kernels ({type(error).__name__}: {error}): neurons run their explicit "
            'steps instead, which give the same spikes and are several times as slow. Install a numba that fits this '
            'Python and numpy: pip install --upgrade numba'
        )
        warnings.warn(message, stacklevel=2)
        raise KernelError(message) from error


def _dense(x: Tensor) -> Tensor:
    """The clip as the kernels take it: steps one after the other without gaps, and on CPU in fp32."""
    order = [0, *sorted(range(1, x.dim()), key=x.stride().__getitem__, reverse=True)]
    x = x if x.permute(order).is_contiguous() else x.contiguous()
    return x.float() if x.device.type == 'cpu' else x


def _as(x: Tensor, like: Tensor) -> Tensor:
    """A clip in the type and the layout that an operator promises: those of ``empty_like``."""
    promised = torch.empty_like(like)
    return x if x.stride() == promised.stride() and x.dtype == promised.dtype else promised.copy_(x)


def _operators(name: str, constants: str, prepare: Callable[..., tuple[Any, ...]]) -> tuple[Any, Any, Any, Any]:
    """A neuron's operators: spikes (T, ...) of a clip; the same in place; in place, and as bytes, without a gradient.

    ``constants`` are the types of what they take behind the clip; ``prepare`` makes of these what kernels take.
    """

    def forward(x: Tensor, *constants: Any) -> Tensor:
        dense = _dense(x)
        spikes = torch.empty_like(dense)
        run(name, x, dense, spikes, *prepare(*constants))
        return spikes if dense is x else _as(spikes, x)

    def forward_in_place(x: Tensor, *constants: Any) -> None:
        dense = _dense(x)
        run(name, x, dense, dense, *prepare(*constants))
        if dense is not x:
            x.copy_(dense)

    def backward(grad: Tensor, x: Tensor, learn: bool, *constants: Any) -> tuple[Tensor, Tensor]:
        """Gradients of the clip and, where it is to learn, of the leak."""
        dense = _dense(x)
        grad_x = torch.empty_like(dense)
        leak_parts = run(f'{name}_backward', x, _as(grad, dense), dense, grad_x, learn, *prepare(*constants))
        return _as(grad_x, x), leak_parts.sum(dtype=torch.float64)

    def define(suffix: str, function: Any, schema: str, mutates: Any = ()) -> Any:
        return torch.library.custom_op(f'mmsvf::{name}{suffix}', function, mutates_args=mutates, schema=schema)

    operator = define('', forward, f'(Tensor x, {constants}) -> Tensor')
    in_place = define('_', forward_in_place, f'(Tensor(a!) x, {constants}) -> ()', {'x'})
    derive = define('_backward', backward, f'(Tensor grad, Tensor x, bool learn, {constants}) -> (Tensor, Tensor)')
    operator.register_fake(lambda x, *_: torch.empty_like(x))
    derive.register_fake(lambda grad, x, *_: (torch.empty_like(x), x.new_empty((), dtype=torch.float64)))

    def keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x = inputs[0]
        if type(x) is Tensor:  # a backward pass that cannot be compiled is to fail here, where there are explicit steps
            run('compile_backward', x, x.numel(), name)
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.constants = inputs[len(tensors) :]

    def gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *leak = ctx.saved_tensors
        learn = ctx.needs_input_grad[1]
        grad_x, grad_leak = derive(grad, x, learn, *leak, *ctx.constants)
        return (grad_x, grad_leak.to(leak[0]) if learn else None, *[None] * (len(ctx.needs_input_grad) - 2))

    operator.register_autograd(gradients, setup_context=keep)

    def overwriting(x: Tensor, *constants: Any) -> Tensor:
        if torch.is_grad_enabled():
            return operator(x, *constants)
        in_place(x, *constants)
        return x

    def as_bytes(x: Tensor, *constants: Any) -> Tensor:
        dense = _dense(x)
        spikes = torch.empty_like(dense, dtype=torch.uint8)
        run(name, x, dense, spikes, *prepare(*constants))
        return spikes

    return operator, in_place, overwriting, as_bytes


def _lif_constants(
    leak: Tensor, decay_input: bool, v_threshold: float, v_reset: float | None, detach_reset: bool, strict: bool,
    surrogate: int, alpha: float,
) -> tuple[Any, ...]:  # fmt: skip
    """Arguments of the kernels. At ``fires_at`` and above a neuron fires; the membrane is then ``keep * h + after``."""
    fires_at = float(np.nextafter(np.float32(v_threshold), np.float32(np.inf))) if strict else v_threshold
    keep, after = (1.0, -v_threshold) if v_reset is None else (0.0, v_reset)
    rest, through_reset = v_reset or 0.0, not detach_reset
    return leak, decay_input, rest, fires_at, keep, after, v_threshold, through_reset, surrogate, alpha


def advances(x: Tensor) -> bool:
    """Whether :func:`advance` takes this clip: no part of a compiled graph."""
    return type(x) is Tensor and not torch.compiler.is_compiling() and x.device.type != 'meta' and has_kernel(x)


def advance(operator: str, x: Tensor, v: Tensor, *constants: Any) -> tuple[Tensor, Tensor]:
    """Spikes of a clip that starts at membranes ``v``, and those it leaves; no operator, which takes longer to call.

    Spikes take the place of the clip where the operator is one that overwrites and no gradient is wanted. There is one
    of the clip and of ``v``, not of the constants.
    """
    if torch.is_grad_enabled() and (x.requires_grad or v.requires_grad):
        run('compile_backward', x, x.numel(), operator.removesuffix('_overwriting'))
        return _Advance.apply(x, v, operator.removesuffix('_overwriting'), constants)
    return _advance(operator, x, v, constants)


def _advance(operator: str, x: Tensor, v: Tensor, constants: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    name = operator.removesuffix('_overwriting')
    dense = _dense(x)
    in_place = dense is x and operator != name and not torch.is_grad_enabled()
    spikes = dense if in_place else torch.empty_like(dense)
    after = torch.empty_like(dense[0], dtype=torch.float32)
    kernel = f'{name}_advance'
    run(kernel, x, dense, spikes, after.copy_(v), *_prepared(name, constants))
    return (spikes if spikes.dtype == x.dtype else spikes.to(x.dtype)), after


def _prepared(name: str, constants: tuple[Any, ...]) -> tuple[Any, ...]:
    return _lif_constants(*constants) if name == 'lif' else constants


class _Advance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, name: str, constants: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, v)
        ctx.name, ctx.constants = name, constants
        return _advance(name, x, v, constants)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        x, v = ctx.saved_tensors
        dense = _dense(x)
        grad_x = torch.empty_like(dense)
        past, carried = (torch.empty_like(dense[0], dtype=torch.float32) for _ in range(2))
        clips, steps = (dense, _as(grad, dense), grad_x), (past.copy_(v), carried.copy_(grad_after))
        run('advance_backward', x, ctx.name, clips, steps, *_prepared(ctx.name, ctx.constants))
        return _as(grad_x, x), carried, None, None


def leaky_constants(*constants: Any) -> tuple[Any, ...]:
    """What decides about the spikes of a leaky neuron, of its ``constants``, as numba's kernels take it."""
    leak, *others = _lif_constants(*constants)
    return (float(leak), *others[:5])


# the equations are those of mmsvf.spiking.LIF and IntegerLIF; the leak, 1/tau, has no dimension
lif, lif_, lif_overwriting, lif_bytes = _operators(
    'lif',
    'Tensor leak, bool decay_input, float v_threshold, float? v_reset, bool detach_reset, bool strict, int surrogate, '
    'float alpha',
    _lif_constants,
)
integer_lif, integer_lif_, integer_lif_overwriting, _ = _operators(
    'integer_lif', 'float decay, float v_threshold, int max_value', lambda *constants: constants
)
