"""How the frameworks' own tools are run."""

import os
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


def framework_tool(name, *arguments):
    """As ``python -m mmsvf`` runs ``FRAMEWORK::TOOL``."""
    return run(ROOT / 'mmsvf' / '__main__.py', name, *arguments)
