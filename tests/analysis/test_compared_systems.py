"""docs/compared_systems.md is what the script writes, and says what the configs are."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from mmsvf.analysis import compared_systems as make
from mmsvf.analysis.models import build_without_memory
from tests.conftest import ROOT

TABLES = yaml.safe_load((ROOT / 'configs' / 'compared' / 'rows.yml').read_text())['tables']
ROWS = [(table, facts) for table in TABLES for facts in table['rows']]
PAGE = (ROOT / 'docs' / 'compared_systems.md').read_text()


def line(facts):
    """A row of the page."""
    shape = facts.get('input', [])
    steps = f'| {shape[1]} |' if len(shape) == 4 else ''
    name = Path(facts['config']).name
    found = [text for text in PAGE.splitlines() if text.startswith(f'| {facts["system"]} |') and steps in text]
    return next(text for text in found if name == 'none' or f'[{name}]' in text)


def test_every_config_and_every_row_is_there():
    named = {facts['config'] for _, facts in ROWS}
    final = {f'compared/{path.stem}' for path in (ROOT / 'configs' / 'compared').glob('*.py')}
    first_stages = {name for name in final if f'{name}_vss' in final}
    assert final - first_stages <= named
    for _, facts in ROWS:
        assert facts['differs'] is not None and line(facts)
    text = re.sub(r'counted with mmsvf.*', '', PAGE)
    about = (ROOT / 'configs' / 'compared' / 'about.md').read_text().rstrip()
    assert text.startswith(about)


def test_parameters_are_the_models():
    """Exact to the printed digits; more than 0.3 % off the paper's has a reason."""
    for _, facts in ROWS:
        if facts['config'] == 'none':
            continue
        model = build_without_memory(Config.fromfile(ROOT / 'configs' / f'{facts["config"]}.py'))
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        assert line(facts).split(' | ')[3] == f'{millions:.2f}', facts['config']
        if 'params' in facts and abs(millions / facts['params'] - 1) > 0.003:
            assert facts['differs'], facts['config']


@pytest.mark.parametrize('name', ['compared/vit_base_p16_imagenet', 'compared/statten_2_512_cifar10'])
def test_rows_are_what_the_script_counts(name):
    """One without spikes and one with; the others take their time at full size."""
    table, facts = next((t, f) for t, f in ROWS if f['config'] == name)
    assert make.row(facts, table, ROOT / 'configs') == line(facts)


def test_energy_at_a_rate_by_hand():
    """First layer as multiply-accumulates, the rest accumulates at the rate (paper); real inputs otherwise (strict)."""
    cfg = Config.fromfile(ROOT / 'configs' / 'compared' / 'meta_spikeformer_imagenet_t1_small.py')
    model, layers, frames = make.count(cfg, [3, 64, 64])
    assert frames == 1
    first, rest = layers[0], layers[1:]
    signs = 0  # a dot product has none
    expected = 1e3 * (4.6e-12 * first.macs + 0.9e-12 * 0.2 * sum(layer.macs for layer in rest) + signs)
    assert make.energy('paper', layers, model, 0.2) == pytest.approx(expected, rel=1e-6)
    real = sum(layer.macs for layer in layers if layer.additions is None)
    spikes = sum(layer.macs for layer in layers if layer.additions is not None)
    expected = 1e3 * (4.6e-12 * real + 0.9e-12 * 0.2 * spikes)
    assert make.energy('strict', layers, model, 0.2) == pytest.approx(expected, rel=1e-6)


def test_rate_for_an_energy_gives_that_energy():
    cfg = Config.fromfile(ROOT / 'configs' / 'compared' / 'meta_spikeformer_imagenet_t1_small.py')
    model, layers, _ = make.count(cfg, [3, 64, 64])
    mj = make.energy('paper', layers, model, 0.37)
    assert make.rate_for(mj, layers, model) == pytest.approx(0.37)


def test_a_difference_needs_a_reason():
    facts = next(f for _, f in ROWS if f['config'] == 'compared/statten_2_512_cifar10')
    with pytest.raises(ValueError, match=r'STAtten.*10\.\d+ M, the paper has 5 M, and no word why'):
        make.check({**facts, 'params': 5, 'differs': ''}, ROOT / 'configs')
    make.check({**facts, 'params': 5, 'differs': 'half of it is left out'}, ROOT / 'configs')
