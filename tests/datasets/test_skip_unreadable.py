"""Broken files: skipped, counted once and listed, whatever the number of workers; never beyond the limit."""

import os

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from mmsvf.datasets import check_videos
from mmsvf.datasets.skip_unreadable import SkipUnreadable
from mmsvf.engine.exact_resume.seeded import seeded

from .. import broken_videos
from ..conftest import ROOT
from ..tools import forked

DRAWN: dict[str, list] = {}


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """18 good videos, 2 broken ones."""
    folder = tmp_path_factory.mktemp('clips')
    names = [broken_videos.make(folder, f'good_{i}').name for i in range(18)]
    names[3:3] = [broken_videos.make(folder, 'truncated').name]
    names[11:11] = [broken_videos.make(folder, 'zero_byte').name]
    (folder / 'list.txt').write_text(''.join(f'{name} {i % 8}\n' for i, name in enumerate(names)))
    return folder


def config(folder):
    init_default_scope('mmaction')
    dataset = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py').train_dataloader.dataset
    dataset.update(ann_file=str(folder / 'list.txt'), data_prefix=dict(video=str(folder)))
    return dataset


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_counted_once_by_any_number_of_workers(clips, tmp_path, workers):
    report = tmp_path / 'work' / 'unreadable.txt'
    loader = ConfigDict(
        batch_size=4, num_workers=workers, persistent_workers=workers > 0, collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='mmsvf.SkipUnreadable', dataset=config(clips), limit=0.1, report=str(report)),
    )  # fmt: skip
    seeded(loader)
    batches = Runner.build_dataloader(loader, seed=0)
    drawn = []
    for _ in range(2):
        drawn += [sample.drawn_index for batch in batches for sample in batch['data_samples']]
    names = [line.split('\t')[0] for line in report.read_text().splitlines()]
    assert sorted(names) == [str(clips / 'truncated.mp4'), str(clips / 'zero_byte.mp4')]
    assert len(drawn) == 40 and not {3, 11} & set(drawn)
    assert drawn == DRAWN.setdefault('first', drawn), 'what takes their place does not depend on the workers, either'


def test_beyond_the_limit_it_stops(clips, tmp_path):
    dataset = SkipUnreadable(config(clips), limit=1, report=tmp_path / 'unreadable.txt')
    dataset[3]
    with pytest.raises(RuntimeError, match=r'2 files .* 1 of 20 may be; .*unreadable\.txt; the last one: .*zero_byte'):
        dataset[11]
    assert len((tmp_path / 'unreadable.txt').read_text().splitlines()) == 2


def test_the_reason_is_whole_and_the_checkers(clips, tmp_path):
    for name in ('text', 'zero_byte'):
        path = broken_videos.make(tmp_path, name)
        (tmp_path / 'list.txt').write_text(f'{path.name} 0\n{clips / "good_0.mp4"} 0\n')
        SkipUnreadable(config(tmp_path), limit=1, report=tmp_path / f'{name}.txt')[0]
        reason = check_videos.check(str(path), 'decord', 1, False, 30)
        fix = f'restore it or remove its line from {tmp_path / "list.txt"}\n'
        listed = (tmp_path / f'{name}.txt').read_text()
        assert f'could not be read ({reason}); ' in listed and listed.endswith(fix)


def test_only_for_training(clips):
    dataset = config(clips)
    dataset.test_mode = True
    with pytest.raises(ValueError, match=r'a metric over replaced samples.*check_videos\.py'):
        SkipUnreadable(dataset)
    with pytest.raises(ValueError, match='limit=0; a number of files'):
        SkipUnreadable(config(clips), limit=0)


@pytest.mark.parametrize('kind', [*broken_videos.UNREADABLE, *broken_videos.READABLE])
def test_a_file_is_read_or_named(kind, tmp_path):
    """By the data set and by the checker alike."""
    path = broken_videos.make(tmp_path, kind)
    (tmp_path / 'list.txt').write_text(f'{path.name} 0\n')
    verdict = check_videos.check(str(path), 'decord', 1, True, 30)
    dataset = DATASETS.build(config(tmp_path))
    if kind in broken_videos.UNREADABLE:
        assert verdict
        with pytest.raises(RuntimeError, match=f'{kind}\\.mp4.* could not be read'):
            dataset[0]
    else:
        assert verdict is None, verdict
        assert dataset[0]['inputs'].shape == (1, 3, 8, 48, 48)
        assert (check_videos.check(str(path), 'decord', 3, False, 30) is None) == (kind in ('variable_rate', 'narrow'))


def test_checker_lists_what_is_broken(clips, tmp_path):
    argv = [clips / 'list.txt', '--root', clips, '--jobs', 2, '--out', tmp_path / 'b', '--clean', tmp_path / 'clean']
    script = ROOT / 'tools' / 'analysis' / 'check_videos.py'
    code, out, error = forked.run(script, [*map(str, argv)], ROOT, os.environ, tmp_path)
    assert code == 1, error[-2000:]
    assert '2 of 20 videos cannot be read' in out
    listed = [line.split('\t')[0] for line in (tmp_path / 'b').read_text().splitlines()]
    assert listed == [str(clips / 'truncated.mp4'), str(clips / 'zero_byte.mp4')]
    clean = (tmp_path / 'clean').read_text().splitlines()
    whole = (clips / 'list.txt').read_text().splitlines()
    assert clean == [line for line in whole if 'truncated' not in line and 'zero_byte' not in line]


def test_a_crash_of_the_decoder_takes_only_its_own_video_along():
    found = dict(check_videos.check_all(['a', 'crash', 'b', 'bad'], 2, broken_videos.crashing))
    assert found.pop('crash').startswith('the decoder crashed')
    assert found == {'a': None, 'b': None, 'bad': 'bad'}
