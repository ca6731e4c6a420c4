"""The neurons' kernels as torch operators with a gradient, which torch.compile takes as they are.

On CPU the kernels are numba's, on GPU Triton's; the two modules have the same functions and are imported with the first
clip. Where they cannot be compiled, neurons run their explicit steps.
"""

# no postponed annotations: older torch reads the operators' types as they stand
import importlib
import importlib.util
import warnings
from functools import partial
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

NUMBA = importlib.util.find_spec('numba') is not None
# Triton 3.3 or later, which torch 2.7 or later brings along on GPU
TRITON = importlib.util.find_spec('triton') is not None and tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 7)
HALF = torch.bfloat16, torch.float16


def has_kernel(x: Tensor) -> bool:
    """Whether there are kernels for this clip: (T, ...) in fp32 or half precision, whose membranes are fp32 as well."""
    device = x.device.type
    there = TRITON if device == 'cuda' else NUMBA and device in ('cpu', 'meta')
    return there and x.dtype in (torch.float32, *HALF) and x.dim() > 1 and len(x) > 0


def kernels(x: Tensor) -> Any:
    """The module of kernels for the clip's device."""
    return importlib.import_module('.triton_kernels' if x.is_cuda else '.numba_kernels', __package__)


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


def _reset(v_threshold: float, v_reset: Optional[float], strict: bool) -> tuple[float, float, float]:
    """(fires_at, keep, after): above the threshold is at the next number; a spike leaves ``keep * h + after``."""
    fires_at = float(np.nextafter(np.float32(v_threshold), np.float32(np.inf))) if strict else v_threshold
    return (fires_at, 1.0, -v_threshold) if v_reset is None else (fires_at, 0.0, v_reset)


@torch.library.custom_op('mmsvf::lif', mutates_args=())
def lif(
    x: Tensor, leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float], detach_reset: bool,
    strict: bool, surrogate: int, alpha: float,
) -> Tensor:  # fmt: skip
    """Spikes (T, ...) of a LIF from rest; the equations are those of :class:`mmsvf.spiking.LIF`.

    ``leak`` is 1/tau, of no dimension, on the clip's device; ``surrogate`` is a number of :mod:`.surrogates`.
    """
    dense = _dense(x)
    spikes = torch.empty_like(dense)
    run('lif', x, dense, spikes, leak, decay_input, v_reset or 0.0, _reset(v_threshold, v_reset, strict))
    return spikes if dense is x else _as(spikes, x)


@torch.library.custom_op('mmsvf::lif_', mutates_args={'x'})
def lif_(
    x: Tensor, leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float], detach_reset: bool,
    strict: bool, surrogate: int, alpha: float,
) -> None:  # fmt: skip
    """As :func:`lif`, with the spikes in place of the clip and without a gradient."""
    dense = _dense(x)
    run('lif', x, dense, dense, leak, decay_input, v_reset or 0.0, _reset(v_threshold, v_reset, strict))
    if dense is not x:
        x.copy_(dense)


@torch.library.custom_op('mmsvf::lif_backward', mutates_args=())
def lif_backward(
    grad: Tensor, x: Tensor, leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float],
    detach_reset: bool, strict: bool, surrogate: int, alpha: float, learn: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients of the input and, if the leak is learnt, of the leak."""
    dense = _dense(x)
    grad_x = torch.empty_like(dense)
    leak_parts = run(
        'lif_backward', x, _as(grad, dense), dense, grad_x, leak, learn, decay_input, v_reset or 0.0, v_threshold,
        surrogate, alpha, _reset(v_threshold, v_reset, strict), not detach_reset,
    )  # fmt: skip
    return _as(grad_x, x), leak_parts.sum(dtype=torch.float64).to(leak)


@torch.library.custom_op('mmsvf::integer_lif', mutates_args=())
def integer_lif(x: Tensor, decay: float, v_threshold: float, max_value: int) -> Tensor:
    """Integer spikes (T, ...) from rest; the equations are those of :class:`mmsvf.spiking.IntegerLIF`."""
    dense = _dense(x)
    spikes = torch.empty_like(dense)
    run('integer_lif', x, dense, spikes, decay, v_threshold, max_value)
    return spikes if dense is x else _as(spikes, x)


@torch.library.custom_op('mmsvf::integer_lif_', mutates_args={'x'})
def integer_lif_(x: Tensor, decay: float, v_threshold: float, max_value: int) -> None:
    """As :func:`integer_lif`, with the spikes in place of the clip and without a gradient."""
    dense = _dense(x)
    run('integer_lif', x, dense, dense, decay, v_threshold, max_value)
    if dense is not x:
        x.copy_(dense)


@torch.library.custom_op('mmsvf::integer_lif_backward', mutates_args=())
def integer_lif_backward(grad: Tensor, x: Tensor, decay: float, v_threshold: float, max_value: int) -> Tensor:
    """Gradient of the input."""
    dense = _dense(x)
    grad_x = torch.empty_like(dense)
    run('integer_lif_backward', x, _as(grad, dense), dense, grad_x, decay, v_threshold, max_value)
    return _as(grad_x, x)


lif.register_fake(lambda x, leak, *_: torch.empty_like(x))
lif_backward.register_fake(lambda grad, x, leak, *_: (torch.empty_like(x), torch.empty_like(leak)))
integer_lif.register_fake(lambda x, *_: torch.empty_like(x))
integer_lif_backward.register_fake(lambda grad, x, *_: torch.empty_like(x))


def _keep(ctx: Any, inputs: tuple, output: Tensor, operator: str) -> None:
    x = inputs[0]
    if type(x) is Tensor:  # a backward pass that cannot be compiled is to fail here, where there are explicit steps
        run('compile_backward', x, x.numel(), operator)
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.constants = inputs[len(tensors) :]


def _lif_gradients(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    learn = ctx.needs_input_grad[1]
    grad_x, grad_leak = lif_backward(grad, *ctx.saved_tensors, *ctx.constants, learn)
    return (grad_x, grad_leak if learn else None, *[None] * 7)


def _integer_lif_gradients(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    return (integer_lif_backward(grad, *ctx.saved_tensors, *ctx.constants), None, None, None)


lif.register_autograd(_lif_gradients, setup_context=partial(_keep, operator='lif'))
integer_lif.register_autograd(_integer_lif_gradients, setup_context=partial(_keep, operator='integer_lif'))


def _overwriting(operator: Any, in_place: Any) -> Any:
    """An operator whose spikes take the place of the clip where no gradient is wanted."""

    def overwrite(x: Tensor, *constants: Any) -> Tensor:
        if torch.is_grad_enabled():
            return operator(x, *constants)
        in_place(x, *constants)
        return x

    return overwrite


lif_overwriting, integer_lif_overwriting = _overwriting(lif, lif_), _overwriting(integer_lif, integer_lif_)
