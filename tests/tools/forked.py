"""Python in forks of a process that has imported torch and MMEngine: most of a short run is imports.

No framework is imported beforehand, so that a tool still imports what it needs itself, but where many processes of a
test do the same and something else is the question (``FRAMEWORKS``).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ..conftest import ROOT, python_path

SERVER = Path(__file__).with_name('fork_server.py')
INSTALLED = 'plain_configs', 'torch', 'torchvision.models', 'numba', 'mmengine.runner', 'cv2', 'mmcv'
OURS = 'mmsvf', 'mmsvf.spiking.numba_kernels', *INSTALLED, 'spikingjelly.activation_based.neuron'
FRAMEWORKS = *OURS, 'mmaction.apis', 'mmseg.apis', 'mmpose.apis', 'torch.utils.tensorboard'
KEPT = []  # folders and servers, as long as this process lives


@cache
def python(*modules: str, **env: str) -> str:
    """An executable that is this Python with modules imported, which its forks share.

    It stands where a path of Python's is asked for: of scripts, of torchrun, and of what these start.

    Args:
        *modules: Names.
        **env: Variables that importing them needs beyond those of this process.
    """
    KEPT.append(tempfile.TemporaryDirectory())
    folder = Path(KEPT[-1].name)
    executable, path, log = folder / 'python', folder / 'socket', folder / 'log'
    words = [sys.executable, '-SEs', str(SERVER), 'ask', str(path), str(executable)]
    executable.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    executable.chmod(0o755)
    with log.open('w') as out:
        server = subprocess.Popen(
            [sys.executable, str(SERVER), 'serve', str(path), *modules],
            stdin=subprocess.PIPE,  # which ends with this process
            stdout=out,
            stderr=out,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(ROOT), **env},
        )
    while not path.exists():
        assert server.poll() is None, log.read_text()
        time.sleep(0.02)
    KEPT.append(server)
    return str(executable)


def run(
    script: Path,
    argv: Sequence[str],
    root: Path,
    env: Mapping[str, str],
    folder: Path,
    modules: Sequence[str] = OURS,
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script, which go through files in the folder."""
    return run_ranks(script, argv, root, [env], folder, modules)[0]


def run_ranks(
    script: Path,
    argv: Sequence[str],
    root: Path,
    envs: Sequence[Mapping[str, str]],
    folder: Path,
    modules: Sequence[str] = FRAMEWORKS,
) -> list[tuple[int, str, str]]:
    """The same of processes at the same time, one for each environment."""
    command, processes = [python(*modules), str(script), *argv], []
    for rank, env in enumerate(envs):
        with (folder / f'stdout{rank}').open('w') as out, (folder / f'stderr{rank}').open('w') as error:
            processes.append(subprocess.Popen(command, cwd=root, env=env, stdout=out, stderr=error))
    codes = [process.wait() for process in processes]
    texts = [
        [(folder / f'{name}{rank}').read_text(encoding='utf-8', errors='replace') for name in ('stdout', 'stderr')]
        for rank in range(len(envs))
    ]
    return [(code, out, error) for code, (out, error) in zip(codes, texts)]
