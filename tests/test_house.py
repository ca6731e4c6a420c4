"""The house: imports go downwards, no two rooms need each other, and the registries' classes are public."""

import ast
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from mmsvf import registry
from tests.conftest import ROOT

# from the ground up; what stands on one floor does not know of each other
FLOORS = [
    {'version', 'arguments', 'compat', 'frameworks', 'precision'},
    {'files', 'plug_ins'},
    {'registry', 'spiking', 'body'},
    {'lazy_exports'},
    {'models', 'datasets', 'visualization'},
    {'analysis', 'evaluation'},
    {'swapping', 'engine'},
    {'apis'},
    {'app'},
    {'__init__', '__main__'},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_LINES = 300


def sources():
    return sorted((ROOT / 'mmsvf').rglob('*.py'))


def room(path):
    return path.relative_to(ROOT / 'mmsvf').with_suffix('').parts[0]


def imports(path):
    """Modules of mmsvf that a file imports, also within functions, as paths of parts."""
    package = ['mmsvf', *path.relative_to(ROOT / 'mmsvf').parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.split('.') for name in node.names if name.name.split('.')[0] == 'mmsvf')
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split('.') if node.module else [])]
            if module[:1] == ['mmsvf']:
                yield from ([*module, name.name] for name in node.names)


def modules(path):
    """Files that a file imports."""
    for parts in imports(path):
        for end in (len(parts), len(parts) - 1):
            found = ROOT.joinpath(*parts[:end])
            if found.with_suffix('.py').is_file():
                yield found.with_suffix('.py')
                break
            if (found / '__init__.py').is_file():
                yield found / '__init__.py'
                break


def test_every_room_has_a_floor():
    assert {room(path) for path in sources()} == set(FLOOR)


@pytest.mark.parametrize('path', sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_arrow_goes_up(path):
    here = room(path)
    for module in modules(path):
        there = room(module)
        if there == '__init__':  # its version and its lazy names, which no file of the package needs
            raise AssertionError(f'{path} imports mmsvf itself')
        assert there == here or FLOOR[there] < FLOOR[here], f'{path} imports {module}'


def test_no_circle():
    """Not within a room, either."""
    graph = {path: set(modules(path)) - {path} for path in sources()}
    done, trail = set(), []

    def visit(path):
        assert path not in trail, [str(p.relative_to(ROOT)) for p in [*trail[trail.index(path) :], path]]
        if path not in done:
            trail.append(path)
            for other in graph[path]:
                visit(other)
            done.add(trail.pop())

    for path in graph:
        visit(path)


def test_no_file_is_long():
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_a_file_name_is_there_once():
    names = sorted(path.name for path in sources() if path.name != '__init__.py')
    assert not [a for a, b in pairwise(names) if a == b]


@pytest.mark.parametrize('name', ['models', 'datasets', 'evaluation', 'engine.hooks'])
def test_public_classes_are_those_of_the_registries(name):
    """``from mmsvf.models import SpikeVideoFormer``; each is named once, where it is declared."""
    package = import_module(f'mmsvf.{name}')
    text = '\n'.join(path.read_text() for path in Path(package.__file__).parent.rglob('*.py'))
    assert sorted(dir(package)) == sorted(re.findall(r'register_module\(\)\nclass (\w+)', text))
    for public in dir(package):
        found = getattr(package, public)
        assert found.__name__ == public and found.__module__.startswith(package.__name__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018


def test_what_is_declared_is_registered():
    for value in vars(registry).values():
        if isinstance(value, registry.PluginRegistry):
            assert set(value._declared) <= set(value.module_dict)


STOCK = re.compile('mmaction2|mmsegmentation|mmpose|mmpretrain|MMEngine|OpenMMLab|spikingjelly|frameworks|Reason:')


@pytest.mark.parametrize('name', ['datasets', 'engine', 'evaluation', 'visualization'])
def test_a_class_says_why_no_stock_one_serves(name):
    for path in (ROOT / 'mmsvf' / name).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any('register' in ast.dump(by) for by in node.decorator_list):
                assert STOCK.search(ast.get_docstring(node) or ''), node.name
