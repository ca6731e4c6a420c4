#!/usr/bin/env python
"""Collect, as wheels, what a GPU machine without network lacks to run mmsvf: the packages of requirements/.

    python benchmarks/wheels.py wheels                          # for a usual CUDA image with PyTorch
    pip list --format=freeze > present.txt                      # on that machine, to be exact,
    python benchmarks/wheels.py wheels --present present.txt    # then here

Copy the folder there, and in mmsvf's folder:

    pip install --no-index --no-deps --no-compile --target site wheels/*.whl
    PYTHONPATH=site:. python tools/train.py ...

Packages that are there stay as they are, whatever their version; setuptools alone is carried all the same. torch,
torchvision, triton and numpy have to be there: they fit each other, the driver and the packages compiled against them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).resolve().parents[1] / 'requirements'
OWN = {'torch', 'torchvision', 'triton', 'numpy'}  # never carried
EXACT = {'setuptools'}  # always carried: a newer one has no pkg_resources
PRESENT = OWN | {
    *('einops', 'filelock', 'h5py', 'imageio', 'joblib', 'matplotlib', 'numba', 'opencv-python-headless', 'packaging'),
    *('pandas', 'pillow', 'portalocker', 'psutil', 'pytest', 'pytest-xdist', 'pyyaml', 'regex', 'requests', 'rich'),
    *('safetensors', 'scikit-image', 'scikit-learn', 'scipy', 'six', 'tabulate', 'tensorboard', 'timm', 'tqdm'),
}  # of a usual image
# of x86-64 Linux with the C library that PyTorch's wheels need, 2.28, or an older one
PLATFORMS = ['manylinux2014_x86_64', *(f'manylinux_2_{minor}_x86_64' for minor in range(28, 4, -1))]
# for packages that do not say what their build needs; extensions built against numpy 2 work with numpy 1.26, too
BUILD = ('setuptools<81', 'wheel', 'numpy>=2', 'cython', 'matplotlib')


def read(path: Path) -> list[Requirement]:
    """The requirements of a file, as pip reads and prints them; paths and addresses are left out."""
    lines = (re.split(r'\s@\s|\s#|^#', line)[0].strip() for line in path.read_text(encoding='utf-8').splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith('-')]


def name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def lacking(file: str, present: set[str]) -> list[Requirement]:
    """What a file of requirements/ has, and a machine with the packages ``present`` has not."""
    there = (present | OWN) - EXACT
    return [requirement for requirement in read(REQUIREMENTS / file) if name_of(requirement) not in there]


def required(wheel: Path, python: str) -> list[Requirement]:
    """What a wheel requires on Linux."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.count('/') == 1 and n.endswith('.dist-info/METADATA'))
        metadata = Parser().parsestr(archive.read(name).decode())
    machine = dict(python_version=python, python_full_version=f'{python}.0', extra='')
    machine |= dict(sys_platform='linux', platform_system='Linux', os_name='posix', platform_machine='x86_64')
    requirements = [Requirement(line) for line in metadata.get_all('Requires-Dist', [])]
    requirements = [r for r in requirements if r.marker is None or r.marker.evaluate(machine)]
    for requirement in requirements:
        requirement.marker = None  # which pip would ask about the Python that runs it
    return requirements


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def check(done: subprocess.CompletedProcess[str], requirement: Requirement, python: str) -> None:
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if 'error' in line.lower()] or [done.stderr]
        raise SystemExit(
            f'no wheel of {requirement} for Python {python} on x86-64 Linux can be had: {errors[-1].strip()}'
        )


def build(requirement: Requirement, python: str, interpreter: str | None, folder: Path) -> None:
    """Build a wheel from the source, with a Python of the version it is for.

    Raises:
        SystemExit: there is none, or it cannot build it.
    """
    candidates = [interpreter] if interpreter else [sys.executable, f'python{python}']
    working = [c for c in candidates if shutil.which(c) and run(c, '--version').stdout.startswith(f'Python {python}.')]
    if not working:
        raise SystemExit(
            f'{requirement} has no wheel for Python {python} and has to be built with that, which none of '
            f'{candidates} is: name one with --interpreter'
        )
    with tempfile.TemporaryDirectory() as scratch:
        check(run(working[0], '-m', 'venv', scratch), requirement, python)
        pip = str(Path(scratch, 'bin', 'python')), '-m', 'pip'
        check(run(*pip, 'install', *BUILD), requirement, python)
        options = '--no-deps', '--no-build-isolation', '--wheel-dir', str(folder)
        check(run(*pip, 'wheel', *options, str(requirement)), requirement, python)


def fetch(requirement: Requirement, python: str, interpreter: str | None, folder: Path) -> Path:
    """The wheel of a requirement, from the package index or else built from its source there.

    Raises:
        SystemExit: it cannot be had.
    """
    before = set(folder.glob('*.whl'))
    target = ['--python-version', python, '--implementation', 'cp']
    target += [word for platform in PLATFORMS for word in ('--platform', platform)]
    options = '--no-deps', '--only-binary', ':all:', *target, '--dest', str(folder)
    if run(sys.executable, '-m', 'pip', 'download', *options, str(requirement)).returncode:
        print(f'{requirement} has no wheel for Python {python}: building it', file=sys.stderr)
        build(requirement, python, interpreter, folder)
    return next(iter(set(folder.glob('*.whl')) - before))


def collect(folder: Path, present: set[str], python: str, interpreter: str | None = None) -> list[Path]:
    """Fill a folder with the wheels that a machine with the packages ``present`` lacks.

    Raises:
        FileExistsError: there are wheels in it.
        SystemExit: a wheel cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob('*.whl')):
        raise FileExistsError(f'{folder} has wheels already, which may be of other versions: take a new folder')
    wheels = [fetch(r, python, interpreter, folder) for r in lacking('openmmlab.txt', present)]
    wanted = [*lacking('build.txt', present), *lacking('runtime.txt', present)]
    known = {name_of(r) for file in ('build.txt', 'openmmlab.txt', 'runtime.txt') for r in read(REQUIREMENTS / file)}
    known |= present | OWN
    for requirement in wanted:  # which grows by what these need in turn
        wheels.append(fetch(requirement, python, interpreter, folder))
        for needed in required(wheels[-1], python):
            if name_of(needed) not in known:
                known.add(name_of(needed))
                wanted.append(needed)
    return wheels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder for the wheels, new or without any')
    parser.add_argument('--python', default='3.12', help="the machine's version of Python (default: %(default)s)")
    parser.add_argument('--present', type=Path, help='names of the packages there, a line each')
    parser.add_argument('--limit', type=float, default=60, help='MB of all wheels together (default: %(default)s)')
    parser.add_argument('--interpreter', help='Python of that version, to build with (default: the one on PATH)')
    args = parser.parse_args()
    present = {name_of(r) for r in read(args.present)} if args.present else PRESENT
    wheels = collect(args.out, present, args.python, args.interpreter)
    sizes = {wheel.name: wheel.stat().st_size / 1e6 for wheel in wheels}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f'{size:7.2f} MB  {name}')
    print(f'{sum(sizes.values()):7.2f} MB  {len(sizes)} wheels')
    if sum(sizes.values()) > args.limit:
        raise SystemExit(f'{sum(sizes.values()):.1f} MB of wheels are more than the limit of {args.limit:g} MB')
    print(f'There: pip install --no-index --no-deps --no-compile --target site {args.out}/*.whl')
    print('       PYTHONPATH=site:. python -c "import mmsvf"')


if __name__ == '__main__':
    main()
