"""Tools in forks of one process that has imported torch and MMEngine: most of a short run is imports.

No framework is imported beforehand, so that a tool still imports what it needs itself.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(
    [
        'mmsvf',
        'mmsvf.spiking.numba_kernels',
        'torch',
        'torchvision.models',
        'mmengine.runner',
        'spikingjelly.activation_based.neuron',
        'cv2',
        'mmcv',
    ]
)


def _run(script: str, argv: list[str], root: str, env: dict[str, str], outputs: list[str]) -> None:
    for descriptor, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(root)
    sys.path[0] = str(Path(script).parent)
    sys.argv = [script, *argv]
    try:
        runpy.run_path(script, run_name='__main__')
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def run(script: Path, argv: list[str], root: Path, env: dict[str, str], folder: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script."""
    return run_ranks(script, argv, root, [env], folder)[0]


def run_ranks(
    script: Path, argv: list[str], root: Path, envs: list[dict[str, str]], folder: Path
) -> list[tuple[int, str, str]]:
    """The same of processes at the same time, one for each environment."""
    processes, outputs = [], []
    for rank, env in enumerate(envs):
        outputs.append([str(folder / f'{name}{rank}') for name in ('stdout', 'stderr')])
        processes.append(CONTEXT.Process(target=_run, args=(str(script), argv, str(root), env, outputs[-1])))
        processes[-1].start()
    results = []
    for process, paths in zip(processes, outputs, strict=True):
        process.join()
        out, err = (Path(path).read_text(encoding='utf-8', errors='replace') for path in paths)
        results.append((int(process.exitcode or 0), out, err))
    return results
