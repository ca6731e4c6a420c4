"""What is collected for a machine without network; in pip's place stands what writes empty wheels."""

import re
import subprocess
import sys
import zipfile

import pytest

from benchmarks import wheels

NEEDS = {
    'ftfy': ['wcwidth'],
    'yapf': ['platformdirs>=3.5; python_version >= "3.12"', 'tomli; python_version < "3.11"', 'black; extra == "all"'],
}
FOLDER = {'download': '--dest', 'wheel': '--wheel-dir'}
NO_WHEEL = 'xtcocotools'


@pytest.fixture
def index(monkeypatch):
    """A package index: which commands were run, and names that it has no source of."""
    commands, missing = [], set()

    def run(*command):
        commands.append(command)
        if command[1] == '--version':
            version = '3.12' if command[0] == sys.executable else command[0][-4:]
            return subprocess.CompletedProcess(command, 0, f'Python {version}.1\n', '')
        verb, (name, *_) = command[3], re.findall(r'^[\w.-]+', command[-1]) or ['']
        if name in missing or (verb == 'download' and name == NO_WHEEL):
            return subprocess.CompletedProcess(command, 1, '', f'ERROR: No matching distribution found for {name}\n')
        if verb in FOLDER:
            folder = command[command.index(FOLDER[verb]) + 1]
            with zipfile.ZipFile(f'{folder}/{name}-1-py3-none-any.whl', 'w') as wheel:
                wheel.writestr('data', bytes(10_000))
                requires = [f'Requires-Dist: {needed}\n' for needed in ['numpy', *NEEDS.get(name, ())]]
                wheel.writestr(f'{name}-1.dist-info/METADATA', ''.join([f'Name: {name}\n', *requires]))
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(wheels, 'run', run)
    return commands, missing


def names(folder):
    return {wheels.canonicalize_name(wheel.name.split('-1-')[0]) for wheel in folder.glob('*.whl')}


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['wheels.py', *map(str, arguments)])
    wheels.main()


def test_what_is_there_is_left_out(index, tmp_path, monkeypatch, capsys):
    """By names as pip prints them; what the machine's torch goes with stays its own, setuptools has to be ours."""
    present = tmp_path / 'present.txt'
    rows = ['# pip list', 'Pillow==9.0', 'opencv_python_headless', 'scipy @ file:///tmp/scipy.whl', '-e /code']
    present.write_text('\n'.join([*rows, 'setuptools==82.0.0', 'mmdet==3.3.0', 'json.tricks']))
    main(monkeypatch, tmp_path / 'out', '--present', present)
    found = names(tmp_path / 'out')
    assert {'mmengine', 'mmcv-lite', 'spikingjelly', 'xtcocotools', 'setuptools', 'wheel', 'matplotlib'} <= found
    assert not found & {'pillow', 'opencv-python-headless', 'scipy', 'mmdet', 'json-tricks', 'torchvision', 'numpy'}
    assert {'wcwidth', 'platformdirs'} <= found and not found & {'tomli', 'black'}  # needed in turn
    printed = capsys.readouterr()
    assert f'{len(found)} wheels' in printed.out and 'pip install --no-index --no-deps' in printed.out
    assert re.search(r'xtcocotools==\S+ has no wheel for Python 3.12: building it', printed.err)


def test_usual_image(index, tmp_path, monkeypatch):
    """Versions are the pinned ones, for the Python asked for."""
    commands, _ = index
    python = str(tmp_path / 'python3.13')
    monkeypatch.setattr(wheels.shutil, 'which', lambda name: name)
    collected = wheels.collect(tmp_path, wheels.PRESENT, '3.13', interpreter=python)
    assert {wheel.name for wheel in collected} == {wheel.name for wheel in tmp_path.iterdir()}
    assert not names(tmp_path) & {wheels.canonicalize_name(name) for name in wheels.PRESENT}
    pinned = {str(r) for file in ('openmmlab.txt', 'runtime.txt') for r in wheels.read(wheels.REQUIREMENTS / file)}
    asked = {command[-1] for command in commands if 'download' in command}
    assert asked - pinned == {'setuptools==80.10.2', 'wheel', 'wcwidth', 'platformdirs>=3.5'}
    assert all('--python-version 3.13 ' in ' '.join(command) for command in commands if 'download' in command)
    assert [command for command in commands if command[:3] == (python, '-m', 'venv')]


def test_too_large(index, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r'0\.3 MB of wheels are more than the limit of 0\.1 MB'):
        main(monkeypatch, tmp_path, '--limit', '0.1')


def test_wheel_that_cannot_be_had(index, tmp_path, monkeypatch):
    index[1].add('decord')
    expected = r'no wheel of decord==\S+ for Python 3\.12 .* had: ERROR: No matching distribution found for decord'
    with pytest.raises(SystemExit, match=expected):
        main(monkeypatch, tmp_path, '--interpreter', sys.executable)


@pytest.mark.parametrize('interpreter', [None, sys.executable])
def test_no_python_to_build_with(index, tmp_path, monkeypatch, interpreter):
    """Of the version asked for: what another one builds could not be imported."""
    monkeypatch.setenv('PATH', '')
    with pytest.raises(SystemExit, match=r'xtcocotools==\S+ has no wheel for Python 3\.99 .* --interpreter'):
        wheels.collect(tmp_path, wheels.PRESENT, '3.99', interpreter)


def test_folder_with_other_wheels(index, tmp_path):
    (tmp_path / 'old.whl').touch()
    with pytest.raises(FileExistsError, match='take a new folder'):
        wheels.collect(tmp_path, wheels.PRESENT, '3.12')
