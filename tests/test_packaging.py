"""What pip installs."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from mmsvf.files.zoo import weights_file, zoo

from .conftest import ROOT


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp('source')
    # a copy, since setuptools builds inside the source folder
    files = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if files.returncode:
        pytest.skip('not a git checkout')
    for name in filter(None, files.stdout.split('\0')):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return folder


def build(source, folder, **variables):
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-w', str(folder)]
    result = subprocess.run([*command, str(source)], capture_output=True, text=True, env={**os.environ, **variables})
    assert result.returncode == 0, result.stderr
    return zipfile.ZipFile(next(folder.glob('mmsvf-*.whl')))


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    return build(source, tmp_path_factory.mktemp('wheel'))


def test_wheel_has_the_package_and_what_mim_looks_for(wheel):
    names = set(wheel.namelist())
    assert {
        'mmsvf/py.typed',
        'mmsvf/spiking/neuron.py',
        'mmsvf/models/backbones/spike_video_former.py',
        'mmsvf/.mim/model-index.yml',
        'mmsvf/.mim/configs/svf_k400.py',
        'mmsvf/.mim/configs/_base_/runtime.py',
        'mmsvf/.mim/tools/train.py',
        'mmsvf/.mim/tools/test.py',
        'mmsvf/.mim/tools/dist_train.sh',
        'mmsvf/analysis/energy/report.html.jinja',
        'mmsvf/app/page/index.html',
        'mmsvf/.mim/tools/app.py',
    } <= names
    index = ''.join(wheel.read(n).decode() for n in names if n.endswith('metafile.yml'))
    weights = re.findall(r'Weights: (\S+)', index)
    assert weights and {f'mmsvf/.mim/{path}' for path in weights} <= names, 'what the zoo has, the wheel has'
    assert not [n for n in names if n.startswith('tests/') or '__pycache__' in n]


def test_a_published_wheel_says_where_its_weights_are(source, tmp_path):
    """MIM fetches ``Weights:`` with requests, which takes an address alone."""
    wheel = build(source, tmp_path, MMSVF_WEIGHTS='https://example.org/mmsvf/checkpoints/')
    index = ''.join(wheel.read(n).decode() for n in wheel.namelist() if n.endswith('metafile.yml'))
    weights = re.findall(r'Weights: https://example\.org/mmsvf/checkpoints/(\S+\.pth)\n', index)
    assert len(weights) == index.count('Weights:') == 6
    wheel.extractall(tmp_path)
    root = tmp_path / 'mmsvf' / '.mim'
    assert all(weights_file(root, entry).is_file() for entry in zoo(root).values() if 'Weights' in entry), 'still there'


def test_no_extra_can_replace_torch(wheel):
    """Requirements that ask for a torch of their own, or overwrite files of another build, are in none."""
    metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith('/METADATA'))).decode()
    requirements = re.findall(r'^Requires-Dist: (.+)$', metadata, re.M)
    names = {re.match(r'[\w.-]+', r).group().lower().replace('_', '-') for r in requirements}
    replacing = {'torchvision', 'torchaudio', 'spikingjelly', 'mmcv', 'mmcv-lite', 'mmengine', 'mmpose', 'chumpy'}
    assert not names & {*replacing, 'opencv-python', 'opencv-contrib-python', 'opencv-python-headless'}
    assert [r for r in requirements if r.startswith('torch')] == ['torch>=2.6']
    extras = set(re.findall(r'^Provides-Extra: (.+)$', metadata, re.M))
    assert extras == {'action', 'seg', 'pose', 'pretrain', 'robustness', 'app', 'dev', 'all'}
    assert set(re.search(r'^Requires-Python: (.+)$', metadata, re.M)[1].split(',')) == {'>=3.11', '<3.14'}
    assert re.search(r'Apache-2.0', metadata)


def test_pins_are_exact():
    for path in (ROOT / 'requirements').glob('*.txt'):
        for line in path.read_text().splitlines():
            assert not line or line.startswith('#') or '==' in line or line == 'wheel', f'{path.name}: {line}'
