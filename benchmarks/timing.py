"""Time and memory on a CPU or a GPU, for the scripts beside this one."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

GPU = torch.cuda.is_available()
DEVICE = 'cuda' if GPU else 'cpu'
clock = time.perf_counter  # time.process_time on a CPU that is shared: what the process used


def synchronize() -> None:
    """Wait for the GPU."""
    if GPU:
        torch.cuda.synchronize()


def seconds(function: Callable[[], object]) -> float:
    """Of one call, what a GPU still has to do included."""
    synchronize()
    start = clock()
    function()
    synchronize()
    return clock() - start


def turns(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, by name, in rounds in which they take turns."""
    times = [{name: seconds(function) for name, function in functions.items()} for _ in range(rounds)]
    return {name: [found[name] for found in times] for name in functions}


def medians(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of each of :func:`turns`."""
    return {name: statistics.median(found) for name, found in turns(functions, rounds).items()}


def kernel_medians(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """As :func:`medians`, of work so short that launching it would count on a GPU: there, what the GPU took."""
    if not GPU:
        return medians(functions, rounds)
    from triton.testing import do_bench

    return {name: do_bench(function, return_mode='median') / 1e3 for name, function in functions.items()}


def gpu_peak(function: Callable[[], object]) -> float:
    """MB of tensors on the GPU at most during a call, those that were there before included."""
    torch.cuda.reset_peak_memory_stats()
    function()
    synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def machine() -> str:
    """What was measured on, and with which versions."""
    device = torch.cuda.get_device_name() if GPU else f'{torch.get_num_threads()} CPU threads'
    return (
        f'{device}, torch {torch.__version__}, spikingjelly {version("spikingjelly")}, Python '
        f'{platform.python_version()}, {platform.machine()}'
    )


def record(path: Path | None, **figures: float) -> None:
    """Add figures to a JSON file, which benchmarks/gpu.py compares with what must hold."""
    if path is not None:
        found = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**found, **figures}))
