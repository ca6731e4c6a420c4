"""How the frameworks' own tools are run."""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import ROOT, python_path
from tests.tools import forked

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(ROOT)}


def run(script, *arguments):
    """What a script prints, on both streams."""
    with tempfile.TemporaryDirectory() as folder:
        code, out, error = forked.run(script, [*map(str, arguments)], ROOT, ENV, Path(folder))
    assert code == 0, error[-3000:]
    return out + error


def alone(*command):
    """The same of a process that imports nothing of ours by itself: a script, or what Python is told to do."""
    command = [forked.python(*forked.INSTALLED), *map(str, command)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENV)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout + result.stderr


def framework_tool(name, *arguments):
    """As ``python -m mmsvf`` runs ``FRAMEWORK::TOOL``."""
    return run(ROOT / 'mmsvf' / '__main__.py', name, *arguments)
