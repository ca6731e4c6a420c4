"""What a run needs of the machine is looked at before it starts."""

from pathlib import Path

import pytest

from mmsvf.engine import environment


def test_broken_torchvision_stops_early(monkeypatch):
    def broken(name):
        raise RuntimeError('operator torchvision::nms does not exist')

    monkeypatch.setattr(environment.importlib, 'import_module', broken)
    with pytest.raises(RuntimeError, match=r'torchvision does not fit.*pip install --no-deps torchvision==0\.16\.2'):
        environment.check_environment()


def test_missing_pkg_resources_stops_early(monkeypatch):
    find_spec = environment.find_spec
    monkeypatch.setattr(environment, 'find_spec', lambda name: None if name == 'pkg_resources' else find_spec(name))
    source = Path(find_spec('mmengine.utils.package_utils').origin).read_text()
    if 'import pkg_resources' not in source:
        environment.check_environment()
        return
    with pytest.raises(RuntimeError, match=r'pip install setuptools==80\.10\.2'):
        environment.check_environment()
