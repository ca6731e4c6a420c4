"""Runs of the delayed match on other delays: the runs' own models, on all frames of the videos of each delay."""

import os
from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsvf.analysis.match_delays import curves, find_runs, plot, table, write_videos
from mmsvf.models.recognizers.clip_recognizer import ClipRecognizer
from mmsvf.registry import MODELS

from ..conftest import ROOT

ARCH = dict(_delete_=True, embed_dims=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1, 1))


@pytest.fixture
def runs(tmp_path):
    """Of one row and two seeds, as ablate.py leaves them, not trained."""
    cfg = Config.fromfile(str(ROOT / 'configs/demo/svf_delayed_match.py'))
    cfg.merge_from_dict({'model.backbone.arch': ARCH, 'model.cls_head.in_channels': 16})
    init_default_scope(cfg.default_scope)
    for seed in (0, 1):
        torch.manual_seed(seed)
        folder = tmp_path / 'runs' / 'base' / str(seed)
        (folder / 'run').mkdir(parents=True)
        cfg.dump(folder / 'config.py')
        checkpoint = folder / 'run' / 'epoch_1.pth'
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), checkpoint)
        (folder / 'run' / 'last_checkpoint').write_text(f'/elsewhere/{checkpoint.name}')  # the folder was moved
        (folder / 'result.json').write_text('{}')
    return tmp_path / 'runs'


def test_each_delay_is_tested_on_all_its_frames(runs, tmp_path, monkeypatch):
    seen = []
    extract = ClipRecognizer.extract_feat
    monkeypatch.setattr(
        ClipRecognizer,
        'extract_feat',
        lambda self, inputs, *a, **k: seen.append(tuple(inputs.shape)) or extract(self, inputs, *a, **k),
    )
    write_videos(tmp_path / 'data', [0, 9], 24, ROOT / 'tools')
    old = tmp_path / 'data' / '0' / 'val_cue.txt'
    os.utime(old, (0, 0))
    write_videos(tmp_path / 'data', [0, 9], 24, ROOT / 'tools')
    assert old.stat().st_mtime > 0, 'older than the script: written again'
    first, found = map(deepcopy, curves(find_runs(runs, ['base'], [0, 1]), [0, 9], tmp_path / 'data'))
    assert list(first['base']) == ['0'] and first['base']['0'] == found['base']['0'], 'known before the second run'
    frames = [(shape[0], shape[-3]) for shape in seen]
    assert frames == [(24, 3), (24, 12)] * 2
    assert [list(by_delay) for by_delay in found['base'].values()] == [['0', '9']] * 2
    assert all(value * 24 == pytest.approx(round(value * 24)) for s in found['base'].values() for value in s.values())
    with pytest.raises(FileNotFoundError, match='base/2 has no finished run'):
        find_runs(runs, ['base'], [2])
    (runs / 'base' / '1' / 'result.json').unlink()
    with pytest.raises(FileNotFoundError, match='base/1 has no finished run'):
        find_runs(runs, ['base'], [0, 1])


def test_table_and_picture(tmp_path):
    found = {'base': {'0': {'0': 0.9, '5': 0.5}, '1': {'0': 1.0, '5': 0.7}}, 'neuron': {'0': {'0': 0.8, '5': 0.25}}}
    assert table(found)[2:] == [
        '| base | 2 | 95.0 (90.0 to 100.0) | 60.0 (50.0 to 70.0) |',
        '| neuron | 1 | 80.0 | 25.0 |',
    ]
    plot(tmp_path / 'delays.svg', found, trained=5)
    drawn = (tmp_path / 'delays.svg').read_text()
    assert drawn.count('<clipPath') and '</svg>' in drawn
