"""Which checkpoint a training goes on from, who writes in its folder, and what a kill leaves there."""

import os
import subprocess
import sys

import pytest
import torch

from mmsvf.files.checkpoints import PARTIAL, save_checkpoint
from mmsvf.files.work_dir import WorkDirLock, find_latest_checkpoint, note_removals, tidy


@pytest.fixture
def said(monkeypatch):
    messages = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda message, **_: messages.append(message))
    return messages


def checkpoint(folder, name, age=0):
    path = folder / name
    save_checkpoint(dict(x=torch.arange(3000.0), meta=dict(epoch=1)), path)
    os.utime(path, (1e9 - age, 1e9 - age))
    return str(path)


@pytest.mark.parametrize('pointer', [b'', b'gone.pth', b'epoch_11.pth', b'\0\0\0', b'\xff\xfe/x', b'x' * 5000, None])
def test_resume_finds_the_newest_whole_checkpoint(tmp_path, pointer, said):
    checkpoint(tmp_path, 'epoch_2.pth')
    newest = checkpoint(tmp_path, 'epoch_10.pth')
    (tmp_path / 'epoch_11.pth').write_bytes((tmp_path / 'epoch_10.pth').read_bytes()[:300])
    (tmp_path / f'epoch_12.pth.host-1{PARTIAL}').write_bytes(b'x')
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_bytes(pointer)
    assert find_latest_checkpoint(tmp_path) == newest
    assert 'epoch_11.pth cut off or damaged; the training goes on from' in said[0] and len(said) == 1
    assert find_latest_checkpoint(tmp_path / 'none') is None


def test_a_note_that_is_older_than_the_newest_checkpoint_is_not_followed(tmp_path, said):
    """The machine went down between writing the one and the other."""
    old, new = checkpoint(tmp_path, 'epoch_1.pth', age=60), checkpoint(tmp_path, 'epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_text(old)
    assert find_latest_checkpoint(tmp_path) == new and not said


def test_a_longer_training_that_was_there_before_is_not_gone_on_with(tmp_path, said):
    last = checkpoint(tmp_path, 'epoch_3.pth')
    longer = checkpoint(tmp_path, 'epoch_100.pth', age=3600)
    (tmp_path / 'last_checkpoint').write_text('/moved/since/epoch_3.pth')
    assert find_latest_checkpoint(tmp_path) == last and not said
    (tmp_path / 'epoch_3.pth').write_bytes(b'')
    assert find_latest_checkpoint(tmp_path) == longer and 'epoch_3.pth cut off or damaged' in said[0]


@pytest.mark.parametrize('noise', ['zeros', 'flipped'])
def test_damage_anywhere_is_noticed_or_changes_nothing(tmp_path, noise, said):
    """Headers have bytes of no meaning (padding, dates); every other range is caught by its checksum."""
    older = checkpoint(tmp_path, 'epoch_1.pth')
    newest = tmp_path / 'epoch_2.pth'
    checkpoint(tmp_path, newest.name)
    content = newest.read_bytes()
    noticed = 0
    starts = range(0, len(content) - 20, 97)
    for start in starts:
        part = bytes(20) if noise == 'zeros' else bytes(b ^ 0xFF for b in content[start : start + 20])
        newest.write_bytes(content[:start] + part + content[start + 20 :])
        if find_latest_checkpoint(tmp_path) == older:
            noticed += 1
            continue
        found = torch.load(newest, weights_only=True)
        assert torch.equal(found['x'], torch.arange(3000.0)) and found['meta'] == dict(epoch=1), start
    assert noticed > 0.9 * len(starts)


def test_one_training_at_a_time(tmp_path):
    hold = (
        'import sys, time; from mmsvf.files.work_dir import WorkDirLock\n'
        f'lock = WorkDirLock({str(tmp_path)!r}); print(1, flush=True); time.sleep(60)'
    )
    other = subprocess.Popen([sys.executable, '-c', hold], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b'1\n'
        with pytest.raises(BlockingIOError, match=rf'in use by process {other.pid} on .* --work-dir'):
            WorkDirLock(tmp_path)
    finally:
        other.kill()
        other.wait()
    lock = WorkDirLock(tmp_path)  # gone with its process
    lock.release()


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth', 'best_acc_epoch_1.pth', 'mine.pth'):
        checkpoint(tmp_path, name)
    partial = tmp_path / f'epoch_3.pth.host-1{PARTIAL}'
    partial.write_bytes(b'x')
    other = tmp_path / f'published.pth.host-1{PARTIAL}'
    other.write_bytes(b'x')
    note_removals(
        tmp_path, [str(tmp_path / n) for n in ('epoch_1.pth', 'best_acc_epoch_1.pth', 'mine.pth', '../x.pth')]
    )
    assert sorted(tidy(tmp_path)) == ['epoch_1.pth', partial.name]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {'epoch_2.pth', 'best_acc_epoch_1.pth', 'mine.pth', other.name}, 'no newer best one is there yet'


def test_the_only_whole_one_stays(tmp_path):
    checkpoint(tmp_path, 'epoch_1.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'half')
    note_removals(tmp_path, ['epoch_1.pth'])
    assert tidy(tmp_path) == [] and (tmp_path / 'epoch_1.pth').exists()


def test_links_in_a_folder_are_not_followed(tmp_path):
    precious = tmp_path / 'precious'
    precious.write_text('x')
    for name in ('.lock', '.removals'):
        (tmp_path / name).symlink_to(precious)
    with pytest.raises(OSError, match='symbolic link'):
        WorkDirLock(tmp_path)
    note_removals(tmp_path, ['epoch_1.pth'])
    assert precious.read_text() == 'x'


def test_odd_things_in_a_folder(tmp_path, said):
    """Pipes would be waited for; links may lead nowhere; folders may have any name."""
    good = checkpoint(tmp_path, 'epoch_1.pth')
    os.mkfifo(tmp_path / 'epoch_9.pth')
    (tmp_path / 'epoch_8.pth').symlink_to(tmp_path / 'gone')
    (tmp_path / f'epoch_3.pth.x{PARTIAL}').mkdir()
    (tmp_path / '.removals').write_text('[' * 200000)
    for pointer in ('epoch_9.pth', 'epoch_8.pth', '/etc', '.'):
        (tmp_path / 'last_checkpoint').write_text(pointer)
        assert find_latest_checkpoint(tmp_path) == good
    assert tidy(tmp_path) == []
