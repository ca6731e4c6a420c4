"""The pages: links lead somewhere, the index has every page, and the README's figures are those of the zoo."""

import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from .conftest import ROOT

PAGES = sorted(path for folder in ('.', 'docs', 'benchmarks') for path in (ROOT / folder).glob('*.md'))
LINK = re.compile(r'!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)')


def prose(path):
    """A page without its blocks and its code, in which brackets are no links."""
    return re.sub(r'`[^`\n]*`', '``', re.sub(r'^```.*?^```', '', path.read_text(), flags=re.M | re.S))


def anchors(path):
    """Names of a page's headings, as GitHub makes them."""
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.M | re.S)
    headings = re.findall(r'^#+ (.+)$', text, re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('path', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    dead = []
    for target in LINK.findall(prose(path)):
        if re.match(r'[a-z]+:', target):
            continue
        file, _, anchor = target.partition('#')
        found = path.parent / file if file else path
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append(target)
    assert not dead


def in_the_package(name):
    """Whether the module of a dotted name speaks of its next part, or the registry has it: read, not imported."""
    _, *parts = name.split('.')
    folder = ROOT / 'mmsvf'
    while parts and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    module = folder / f'{parts[0]}.py' if parts else folder
    if module.is_file():
        parts.pop(0)
    else:
        module = folder / '__init__.py'
    said = module.read_text() + (ROOT / 'mmsvf' / 'registry.py').read_text()
    return not parts or re.search(rf"^(def|class) {parts[0]}\b|'{parts[0]}'|^{parts[0]}\b.* = ", said, re.M)


# the changelog has names of before, too
@pytest.mark.parametrize('path', [p for p in PAGES if p.name != 'CHANGELOG.md'], ids=lambda p: str(p.relative_to(ROOT)))
def test_names_of_the_package_are_in_it(path):
    names = re.findall(r'\bmmsvf(?:\.[A-Za-z_]\w*)+', path.read_text())
    assert not [name for name in names if not in_the_package(name)]


def test_the_index_has_every_page():
    linked = set(LINK.findall((ROOT / 'docs' / 'README.md').read_text()))
    assert {path.name for path in (ROOT / 'docs').glob('*.md')} - {'README.md'} <= linked


def test_the_readme_is_short_and_has_the_two_commands():
    text = (ROOT / 'README.md').read_text()
    assert len(text.splitlines()) <= 250
    assert re.search(r'^make demo +#', text, re.M) and re.search(r'^make test +#', text, re.M)


def test_the_readme_installs_as_the_page_does():
    readme, page = ((ROOT / name).read_text() for name in ('README.md', 'docs/install.md'))
    lines = [line.split('  #')[0].rstrip() for line in page.splitlines()]
    commands = re.findall(r'^pip install .+$', readme, re.M)
    assert len(commands) == 5 and set(commands) <= set(lines)


def test_the_readme_has_the_figures_of_the_zoo():
    """What was measured, and the paper's figures of the rows that name them."""
    text = (ROOT / 'README.md').read_text()
    results = yaml.safe_load((ROOT / 'configs' / 'results.yml').read_text())
    rows = text[text.index('## Results') : text.index('## First steps')]
    measured = [value for facts in results.values() for value in facts.get('measured', {}).get('metrics', {}).values()]
    assert not [value for value in measured if f' {value} ' not in rows]
    papers = {value for facts in results.values() for value in re.findall(r'\d+\.\d', str(facts.get('paper', '')))}
    said = [re.findall(r'\d+\.\d+', row.split('|')[5]) for row in rows.splitlines() if row.count('|') == 6]
    assert {value for values in said for value in values} <= papers


def test_the_moving_picture_moves_and_is_small():
    path = Path(ROOT, 'docs', 'images', 'demos.webp')
    assert path.stat().st_size <= 1.5e6
    with Image.open(path) as picture:
        assert picture.n_frames > 20
