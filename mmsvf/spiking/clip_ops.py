"""The kernels as torch operators with a gradient, which torch.compile takes as they are.

Importing this needs numba; without it the neurons run their explicit steps.
"""

# no postponed annotations: older torch reads the operators' types as they stand
import threading
from typing import Any, Optional

import numba
import numpy as np
import torch
from torch import Tensor

from . import kernels

# numba's fallback for machines without OpenMP must not be entered twice
_ONE_AT_A_TIME = threading.Lock()
# below this, starting a second thread costs more than it saves
SMALL = 1 << 16
_THREADS: int = vars(numba.config)['NUMBA_NUM_THREADS']


def _run(pair: tuple[Any, Any], clip: np.ndarray, *arguments: Any) -> None:
    """A kernel on as many threads as torch uses; one thread (as in a data loader's worker) starts none."""
    threads = min(torch.get_num_threads(), _THREADS)
    one, several = pair
    if threads == 1 or clip.size < SMALL:
        one(clip, *arguments)
        return
    with _ONE_AT_A_TIME:
        numba.set_num_threads(threads)
        several(clip, *arguments)


def _order(x: Tensor) -> list[int]:
    """Dimensions from the slowest in memory to the fastest, time first."""
    strides = x.stride()
    return [0, *sorted(range(1, x.dim()), key=strides.__getitem__, reverse=True)]


def _matrix(x: Tensor) -> np.ndarray:
    """(T, M) over the memory of a clip whose steps are dense, such as a contiguous or a channels-last one."""
    return x.detach().permute(_order(x)).reshape(len(x), -1).numpy()


def _dense(x: Tensor) -> Tensor:
    """The clip, copied unless its memory is one step after the other without gaps."""
    return x if x.permute(_order(x)).is_contiguous() else x.contiguous()


def _as(x: Tensor, like: Tensor) -> Tensor:
    """A clip in the layout that an operator promises: that of ``empty_like``."""
    promised = torch.empty_like(like)
    return x if x.stride() == promised.stride() else promised.copy_(x)


def _f(*values: Any) -> tuple[Any, ...]:
    return tuple(map(np.float32, values))


def _membrane(
    leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float], strict: bool
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What the kernels charge by (leak, rest, decay_input) and reset by (fires_at, keep, after).

    Above the threshold is at the next number; the membrane after a spike is ``keep * h + after``.
    """
    fires_at = np.nextafter(np.float32(v_threshold), np.float32(np.inf)) if strict else np.float32(v_threshold)
    after = _f(1.0, -v_threshold) if v_reset is None else _f(0.0, v_reset)
    return (*_f(leak.item(), v_reset or 0.0), decay_input), (fires_at, *after)


@torch.library.custom_op('mmsvf::lif', mutates_args=())
def lif(
    x: Tensor, leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float], detach_reset: bool,
    strict: bool, alpha: float,
) -> Tensor:  # fmt: skip
    """Spikes (T, ...) of a LIF from rest, fp32 on CPU; the equations are those of :class:`mmsvf.spiking.LIF`.

    ``leak`` is 1/tau, of no dimension; the surrogate gradient is a sigmoid of slope ``alpha``.
    """
    dense = _dense(x)
    spikes = torch.empty_like(dense)
    charge, reset = _membrane(leak, decay_input, v_threshold, v_reset, strict)
    _run(kernels.LIF, _matrix(dense), _matrix(spikes), *charge, *reset)
    return _as(spikes, x)


@torch.library.custom_op('mmsvf::lif_', mutates_args={'x'})
def lif_(
    x: Tensor, leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float], detach_reset: bool,
    strict: bool, alpha: float,
) -> None:  # fmt: skip
    """As :func:`lif`, with the spikes in place of the clip and without a gradient."""
    dense = _dense(x)
    charge, reset = _membrane(leak, decay_input, v_threshold, v_reset, strict)
    _run(kernels.LIF, _matrix(dense), _matrix(dense), *charge, *reset)
    if dense is not x:
        x.copy_(dense)


@torch.library.custom_op('mmsvf::lif_backward', mutates_args=())
def lif_backward(
    grad: Tensor, x: Tensor, leak: Tensor, decay_input: bool, v_threshold: float, v_reset: Optional[float],
    detach_reset: bool, strict: bool, alpha: float, learn: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients of the input and, if the leak is learnt, of the leak."""
    dense = _dense(x)
    grad_x = torch.empty_like(dense)
    parts = np.zeros(kernels.blocks(dense[0].numel()) if learn else 0)
    charge, reset = _membrane(leak, decay_input, v_threshold, v_reset, strict)
    arrays = _matrix(dense), _matrix(_as(grad, dense)), _matrix(grad_x)
    _run(kernels.LIF_BACKWARD, *arrays, *charge, *_f(v_threshold, alpha), *reset, np.float32(not detach_reset), parts)
    return _as(grad_x, x), leak.new_tensor(parts.sum())


@torch.library.custom_op('mmsvf::integer_lif', mutates_args=())
def integer_lif(x: Tensor, decay: float, v_threshold: float, max_value: int) -> Tensor:
    """Integer spikes (T, ...) from rest, fp32 on CPU; the equations are those of :class:`mmsvf.spiking.IntegerLIF`."""
    dense = _dense(x)
    spikes = torch.empty_like(dense)
    _run(kernels.INTEGER_LIF, _matrix(dense), _matrix(spikes), *_f(decay, v_threshold, max_value))
    return _as(spikes, x)


@torch.library.custom_op('mmsvf::integer_lif_', mutates_args={'x'})
def integer_lif_(x: Tensor, decay: float, v_threshold: float, max_value: int) -> None:
    """As :func:`integer_lif`, with the spikes in place of the clip and without a gradient."""
    dense = _dense(x)
    _run(kernels.INTEGER_LIF, _matrix(dense), _matrix(dense), *_f(decay, v_threshold, max_value))
    if dense is not x:
        x.copy_(dense)


@torch.library.custom_op('mmsvf::integer_lif_backward', mutates_args=())
def integer_lif_backward(grad: Tensor, x: Tensor, decay: float, v_threshold: float, max_value: int) -> Tensor:
    """Gradient of the input."""
    dense = _dense(x)
    grad_x = torch.empty_like(dense)
    arrays = _matrix(dense), _matrix(_as(grad, dense)), _matrix(grad_x)
    _run(kernels.INTEGER_LIF_BACKWARD, *arrays, *_f(decay, v_threshold, max_value))
    return _as(grad_x, x)


lif.register_fake(lambda x, leak, *_: torch.empty_like(x))
lif_backward.register_fake(lambda grad, x, leak, *_: (torch.empty_like(x), torch.empty_like(leak)))
integer_lif.register_fake(lambda x, *_: torch.empty_like(x))
integer_lif_backward.register_fake(lambda grad, x, *_: torch.empty_like(x))


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.constants = inputs[len(tensors) :]


def _lif_gradients(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    learn = ctx.needs_input_grad[1]
    grad_x, grad_leak = lif_backward(grad, *ctx.saved_tensors, *ctx.constants, learn)
    return (grad_x, grad_leak if learn else None, *[None] * 6)


def _integer_lif_gradients(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    return (integer_lif_backward(grad, *ctx.saved_tensors, *ctx.constants), None, None, None)


lif.register_autograd(_lif_gradients, setup_context=_keep)
integer_lif.register_autograd(_integer_lif_gradients, setup_context=_keep)
