"""The rows of Table 6, as configs of the paper's tasks, are those that ablate.py trains."""

import copy

import pytest
import yaml
from mmengine.config import Config

from ..conftest import ROOT

FOLDER = ROOT / 'configs' / 'ablation'
ROWS = yaml.safe_load((FOLDER / 'table6.yml').read_text())
BASES = ('svf_mmhpsd_t8', 'svf_cityscapes', 'svf_cityscapes_vss')


def test_every_row_is_a_config_and_every_config_a_row():
    names = {f'{base}_{row}' for base in BASES for row in ROWS if row != 'base'}
    assert {path.stem for path in FOLDER.glob('*.py')} == names
    scales = [row['model.backbone.attention']['scale'] for name, row in ROWS.items() if name.startswith('s_')]
    assert scales == ['head', 1 / 8, 1 / 64, 1 / 512, 1 / 2048]


@pytest.mark.parametrize('base', BASES)
def test_a_row_changes_what_it_names_and_nothing_else(base):
    original = Config.fromfile(ROOT / 'configs' / f'{base}.py')
    for row, options in ROWS.items():
        if row == 'base':
            continue
        expected = copy.deepcopy(original)
        expected.merge_from_dict(copy.deepcopy(options))
        if base == 'svf_cityscapes_vss':  # from its own first stage; its memory has the row's score and scale
            expected.load_from = f'work_dirs/svf_cityscapes_{row}/epoch_300.pth'
            attention = options.get('model.backbone.attention', {})
            expected.model.memory.update({k: v for k, v in attention.items() if k != 'space_time'})
        assert Config.fromfile(FOLDER / f'{base}_{row}.py').to_dict() == expected.to_dict(), row
