"""What importing mmsvf costs and needs, each in a process of its own, or a fork of one without mmsvf."""

import subprocess
import sys

import pytest

from tests.tools import forked

FRAMEWORKS = ('mmaction', 'mmseg', 'mmpose', 'mmdet', 'mmpretrain')


def python(code, executable=sys.executable):
    result = subprocess.run([executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_loads_no_framework():
    loaded = python('import sys, mmengine, mmsvf; print(*sorted({m.split(".")[0] for m in sys.modules}))').split()
    assert 'mmsvf' in loaded
    assert not set(loaded) & {*FRAMEWORKS, 'mmcv', 'torchvision'}


def test_spiking_needs_no_openmmlab():
    loaded = python(
        'import sys; from mmsvf.spiking import LIF, SpikeAttention, hamming_attention; '
        'print(*sorted({m.split(".")[0] for m in sys.modules}))'
    ).split()
    assert not set(loaded) & {*FRAMEWORKS, 'mmcv', 'mmengine'}


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked())
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda n, p=None: None if n.split('.')[0] in {blocked} else find_spec(n, p)
"""


@pytest.mark.parametrize('scope', ['mmaction', 'mmseg', 'mmpose', 'mmpretrain'])
def test_any_framework_may_be_missing(scope):
    """All but one are missing: the backbone builds in the scope of that one."""
    blocked = tuple(set(FRAMEWORKS) - {scope, 'mmdet'})  # of mmdet, which is not installed, mmpose gets a stand-in
    print(
        python(
            BLOCK.format(blocked=blocked)
            + 'import mmsvf\n'
            + 'from mmengine.registry import MODELS, init_default_scope\n'
            + f'init_default_scope({scope!r})\n'
            + "model = MODELS.build(dict(type='SpikeVideoFormer', arch='small'))\n"
            + f'assert {scope!r} in sys.modules and not set(sys.modules) & set({blocked})\n',
            forked.python(*forked.INSTALLED),
        )
    )


def test_missing_framework_is_named_with_the_command():
    code = (
        BLOCK.format(blocked=FRAMEWORKS)
        + 'import mmsvf\n'
        + 'from mmengine.registry import MODELS\n'
        + "MODELS.build(dict(type='mmsvf.SpikeVideoFormer', arch='small'))\n"
        + 'try:\n'
        + "    MODELS.build(dict(type='mmsvf.SpikeClsHead', num_classes=2, in_channels=8))\n"
        + 'except ImportError as error:\n'
        + '    print(error)\n'
        + 'from mmsvf.engine.run_config import load_config\n'
        + 'try:\n'
        + "    load_config('configs/svf_k400.py')\n"
        + 'except ImportError as error:\n'
        + '    print(error)\n'
    )
    head, config = python(code, forked.python(*forked.INSTALLED)).splitlines()[-2:]
    assert 'SpikeClsHead needs mmaction, which is not installed; add it with: pip install --no-deps mmaction2' in head
    assert "default_scope='mmaction'" in config and 'pip install --no-deps mmaction2' in config
