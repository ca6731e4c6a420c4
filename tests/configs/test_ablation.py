"""The rows of Table 6 on the paper's tasks."""

import pytest
import yaml
from mmengine.config import Config

from mmsvf.analysis.ablation import parameters, variant

from ..conftest import ROOT

FOLDER = ROOT / 'configs' / 'ablation'
ROWS, VSS_ROWS = (yaml.safe_load((FOLDER / f'{name}.yml').read_text()) for name in ('table6', 'table6_vss'))


def test_rows_are_the_papers():
    assert list(ROWS) == list(VSS_ROWS)
    scales = [row['model.backbone.attention']['scale'] for name, row in ROWS.items() if name.startswith('s_')]
    assert scales == ['head', 1 / 8, 1 / 64, 1 / 512, 1 / 2048]


def test_stage_2_has_the_row_in_its_memory_and_starts_from_its_own_stage_1():
    config = Config.fromfile(ROOT / 'configs' / 'svf_cityscapes_vss.py')
    start = {'load_from': 'stage1/{row}/{seed}/run/epoch_300.pth'}
    for name, options in VSS_ROWS.items():
        attention = ROWS[name].get('model.backbone.attention', {})
        memory = {k: v for k, v in attention.items() if k != 'space_time'}
        assert options == {k: v for k, v in (('model.backbone.attention', attention), ('model.memory', memory)) if v}
        assert variant(config, 3, start, options, row=name).load_from == f'stage1/{name}/3/run/epoch_300.pth'


def test_rows_of_the_delayed_match_build_and_start_from_their_own_step():
    rows = yaml.safe_load((FOLDER / 'match.yml').read_text())
    config = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_delayed_match.py')
    start = {'load_from': 'pairs/{row}/{seed}/run/epoch_8.pth'}
    for name, options in rows.items():
        cfg = variant(config, 3, start, options, row=name)
        # one row starts from random weights, with nothing of them frozen
        assert cfg.load_from == (None if name == 'random' else f'pairs/{name}/3/run/epoch_8.pth')
        assert (cfg.model.backbone.frozen_stages == -1) == (name == 'random') and parameters(cfg) > 300_000


@pytest.mark.parametrize('base', ['svf_mmhpsd_t8', 'svf_cityscapes', 'svf_cityscapes_vss'])
def test_every_row_builds(base):
    """A row of another attention has other parameters, one of another score those of the norm less or as many."""
    config = Config.fromfile(ROOT / 'configs' / f'{base}.py')
    config.model.get('head', {}).pop('body', None)
    rows = VSS_ROWS if base.endswith('vss') else ROWS
    sizes = {name: parameters(variant(config, 0, options)) for name, options in rows.items()}
    assert sizes['hierarchical'] > sizes['factorized'] * 0.99 > sizes['base'] * 0.99 > sizes['dot'] * 0.99
    assert sizes['neuron'] == sizes['spatial'] == sizes['random'] == sizes['base'] > sizes['dot'] == sizes['s_1_8']
