"""The converters as commands, on the authors' golden weights and on wrong files."""

import argparse
import hashlib
import os
import re
import runpy
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint

from mmsvf.files.load_report import compare
from tests.models.test_official import MODES, Classifier, close, official

from ..conftest import GOLDEN, ROOT


def call(name, *argv, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [name, *map(str, argv)])
    runpy.run_path(str(ROOT / 'tools' / 'model_converters' / f'{name}.py'), run_name='__main__')


@pytest.fixture
def convert(monkeypatch):
    return lambda *argv: call('official_to_mmsvf', *argv, monkeypatch=monkeypatch)


def wrap(weights, path, key='model'):
    """As the authors' scripts save: from DataParallel, with the states of the training and its options."""
    named = {f'module.{name}': value for name, value in weights.items()}
    training = dict(optimizer={'state': {0: {'exp_avg': torch.zeros(2)}}}, epoch=7, scaler={'scale': 65536.0})
    torch.save({key: named, **training, 'args': argparse.Namespace(lr=6e-4, model='metaspikformer_8_512')}, path)
    return path


@pytest.mark.parametrize('mode', MODES)
def test_golden_file_converts_to_equal_outputs_and_back(mode, tmp_path, convert, capsys):
    """The model is built from what the file says of itself; joint dot product is what no file can say."""
    if not GOLDEN.is_dir():
        pytest.skip(f'no golden outputs at {GOLDEN}')
    golden = torch.load(GOLDEN / f'{mode}.pth', weights_only=True)
    design = ('--space-time', 'joint') if mode == '3D_dot' else ()
    convert(wrap(golden['state_dict'], tmp_path / 'a.pth'), tmp_path / 'b.pth', '--framework', 'mmaction', *design)
    text = capsys.readouterr().out
    assert 'embed_dims=(8, 16, 32, 64, 80), depths=(1, 1, 2, 6, 2)' in text and 'head: 10 classes' in text
    assert f'attention score: {MODES[mode]["score"]}' in text
    assert f'space-time design {MODES[mode]["space_time"]}, heads {golden["num_heads"]}' in text
    assert 'left out of the file: optimizer, epoch, scaler, args' in text

    converted = torch.load(tmp_path / 'b.pth', weights_only=True)
    model = Classifier(converted['meta']['backbone'], golden['num_classes']).eval()
    model.load_state_dict(converted['state_dict'], strict=True)
    with torch.no_grad():
        stages, logits = model(golden['input'].permute(1, 2, 0, 3, 4))
    close(stages[-1].permute(2, 0, 1, 3, 4), golden['features'])
    close(logits, golden['logits'])

    convert(tmp_path / 'b.pth', tmp_path / 'c.pth', '--to-official')
    back = torch.load(tmp_path / 'c.pth', weights_only=True)['model']
    assert back.keys() == golden['state_dict'].keys()
    for name, value in golden['state_dict'].items():
        assert back[name].dtype == value.dtype and torch.equal(back[name], value), name


def test_meta_spikeformer_file_loads_into_either_score(tmp_path, convert, capsys):
    weights = {**official(score='dot'), 'head_kd.weight': torch.ones(10, 40), 'head_kd.bias': torch.ones(10)}
    convert(wrap(weights, tmp_path / 'a.pth', 'state_dict'), tmp_path / 'b.pth')
    text = capsys.readouterr().out
    assert "score='dot'): 823 loaded, 0 initialised, 0 left out" in text
    assert "score='hamming'): 823 loaded, 40 initialised, 0 left out" in text
    assert len(re.findall(r'initialised: stages\.[34]\.blocks\.\d\.attn\.units\.0\.read\.norm\.', text)) == 40
    assert 'distilled head (head.distilled=True): 10 classes' in text
    state_dict = torch.load(tmp_path / 'b.pth', weights_only=True)['state_dict']
    assert torch.equal(state_dict['head.fc_kd.weight'], weights['head_kd.weight'])


TINY_ARCH = dict(embed_dims=(8, 16, 24, 32, 40), depths=(1, 1, 2, 6, 2))


def commands_of_the_table():
    """Commands of docs/checkpoints.md on the authors' files: (tool, words after it)."""
    table = (ROOT / 'docs' / 'checkpoints.md').read_text().split("## The authors' files")[1]
    for command in re.findall(r'`python tools/(.*?)`', table):
        tool_name, *words = command.split()
        yield tool_name.removesuffix('.py'), words


def test_the_table_of_the_authors_files(tmp_path, convert, monkeypatch, capsys):
    """Each command, on a file of the authors' kind: what it converts, or what its config's model takes of the file."""
    monkeypatch.chdir(tmp_path)
    meta = {**official(TINY_ARCH, 'dot'), 'head_kd.weight': torch.ones(10, 40), 'head_kd.bias': torch.ones(10)}
    wrap(meta, tmp_path / '55M_kd.pth')
    wrap(meta, tmp_path / '55M_kd_T4.pth')
    seen = set()
    for name, words in commands_of_the_table():
        seen.add(name)
        if name == 'model_converters/official_to_mmsvf':
            wrap(official(TINY_ARCH), tmp_path / 'FILE.pth')
            convert(*words)
            assert 'tensors written to OUT.pth' in capsys.readouterr().out
            continue
        config, *rest = words
        kept = dict(word.split('=') for word in rest if '=' in word)
        file = kept.pop('load_from', rest[0])
        ours = 'compared/meta' not in config
        if file == 'FILE.pth':
            wrap(official(TINY_ARCH, 'hamming' if ours and name == 'test' else 'dot'), tmp_path / file)
        cfg = Config.fromfile(ROOT / config)
        cfg.merge_from_dict(kept)
        head = 'cls_head' if 'cls_head' in cfg.model else 'head'
        cfg.model.backbone.arch = TINY_ARCH
        cfg.model[head].update(in_channels=40, num_classes=10)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
            checkpoint = load_checkpoint(model, file, map_location='cpu')
        report = compare(model.state_dict(), checkpoint['state_dict'])
        assert len(report.loaded) >= 823, (words, str(report))
        fresh = {key.split('.')[-2] for key in report.new if not key.startswith('cls_head')}
        if name == 'test':
            assert not report.new and not report.dropped, (words, str(report))
        else:  # from Meta-SpikeFormer into SpikeVideoFormer
            assert fresh == {'norm'} and all(key.startswith(('head', 'cls_head')) for key in report.dropped), words
    assert seen == {'test', 'train', 'model_converters/official_to_mmsvf'}


def test_a_backbone_under_a_prefix_is_refused(tmp_path, convert, capsys):
    """As a segmentor or a detector would have it."""
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in official().items()}), tmp_path / 'a.pth')
    with pytest.raises(SystemExit):
        convert(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert "not a checkpoint of the authors' " in capsys.readouterr().err


class Bomb:
    def __reduce__(self):
        return os.system, ('touch exploded',)


def damaged(kind, folder):
    """A wrong file of each kind, and what the message says of it."""
    path, weights = folder / f'{kind}.pth', official()
    if kind == 'absent':
        return path, 'No such file'
    if kind == 'bomb':
        torch.save(dict(model=weights, args=Bomb()), path)
        return path, r'refused to load .*: the file asks for posix\.system'
    if kind == 'truncated':
        wrap(weights, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path, 'cannot read .*it is truncated, or of another kind'
    if kind == 'text':
        path.write_text('<html>404</html>')
        return path, 'cannot read .*it is truncated, or of another kind'
    if kind == 'another model':
        torch.save({'state_dict': {'conv1.weight': torch.zeros(64, 3, 7, 7)}, 'epoch': 1}, path)
        return path, "not a checkpoint of the authors' .*found state_dict, epoch"
    if kind == 'a tensor':
        torch.save(torch.zeros(3), path)
        return path, 'found Tensor'
    assert kind == 'another arch'
    weights['block3.0.mlp.fc1_conv.weight'] = torch.zeros(96, 32, 1)
    del weights['block4.1.attn.proj_conv.1.weight']
    return wrap(weights, path), r'missing \(1\)(.|\n)*mis-sized \(1\).*fc1_conv\.weight: \(96, 32, 1\)'


@pytest.mark.parametrize('kind', ['absent', 'bomb', 'truncated', 'text', 'another model', 'a tensor', 'another arch'])
def test_a_wrong_file_gives_one_message_and_no_output(kind, tmp_path, convert, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, message = damaged(kind, tmp_path)
    with pytest.raises(SystemExit) as stop:
        convert(path, tmp_path / 'out' / 'b.pth')
    assert stop.value.code == 1
    text = capsys.readouterr().err
    assert re.search(message, text) and text.startswith(f'error: {path}') and 'Traceback' not in text
    assert not (tmp_path / 'out').exists() and not (tmp_path / 'exploded').exists()


def test_to_official_says_what_it_cannot_convert(tmp_path, convert, capsys):
    torch.save(dict(model=official()), tmp_path / 'a.pth')
    for path, message in ((tmp_path / 'a.pth', 'names already'),):
        with pytest.raises(SystemExit):
            convert(path, tmp_path / 'b.pth', '--to-official')
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'b.pth').exists()


def test_publish_strips_and_hashes(tmp_path, monkeypatch, capsys):
    state_dict = {'backbone.x': torch.arange(3)}
    torch.save(dict(state_dict=state_dict, meta=dict(epoch=1), optimizer={}, message_hub={}), tmp_path / 'a.pth')
    call('publish_model', tmp_path / 'a.pth', tmp_path / 'out' / 'svf.pth', monkeypatch=monkeypatch)
    (path,) = (tmp_path / 'out').iterdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert path.name == f'svf-{digest}.pth' and torch.hub.HASH_REGEX.search(path.name).group(1) == digest
    published = torch.load(path, weights_only=True)
    assert set(published) == {'meta', 'state_dict'} and torch.equal(
        published['state_dict']['backbone.x'], torch.arange(3)
    )
    assert "dropped ['optimizer', 'message_hub']" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call('publish_model', tmp_path / 'a.pth', tmp_path / 'no.pth', '--save-keys', 'ema', monkeypatch=monkeypatch)
    assert "no ['ema'] in it" in capsys.readouterr().err
