"""The demos' scripts, with a stand-in for Python."""

import shutil
import subprocess

import pytest

from ..conftest import ROOT

# notes its arguments, makes the folder that a writer writes, and fails
PYTHON = """#!/bin/sh
echo "$*" >> {folder}/given
mkdir -p "$2"
exit 3
"""


@pytest.mark.parametrize('script', sorted(path.name for path in (ROOT / 'tools').glob('demo*.sh')))
def test_a_writer_that_fails_ends_the_demo(script, tmp_path):
    (tmp_path / 'tools').mkdir()
    shutil.copy(ROOT / 'tools' / script, tmp_path / 'tools')
    (tmp_path / 'python').write_text(PYTHON.format(folder=tmp_path))
    (tmp_path / 'python').chmod(0o755)
    command = ['bash', f'tools/{script}']
    result = subprocess.run(command, cwd=tmp_path, env=dict(BIN=str(tmp_path), PATH='/usr/bin:/bin'))
    assert result.returncode == 3
    (given,) = (tmp_path / 'given').read_text().splitlines()
    assert given.startswith('tools/dataset_converters/') and not [*tmp_path.rglob('.complete')]
