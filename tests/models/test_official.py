"""Equality with the authors' model, and the map between their names and ours."""

import pickle
import re

import pytest
import torch
from mmengine.runner import CheckpointLoader
from torch import nn

import mmsvf
from mmsvf.files.checkpoints import save_checkpoint
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.models.official import (
    from_official,
    official_arch,
    official_name,
    official_weights,
    to_official,
)
from mmsvf.spiking import build_neuron, event_conv
from mmsvf.spiking.event_conv import EventConv2d, Measured
from mmsvf.spiking.neuron import FromRest
from tests.conftest import GOLDEN

MODES = {
    '3D_ham': dict(score='hamming', space_time='joint'),
    '3D_dot': dict(score='dot', space_time='joint'),
    '2D': dict(score='dot', space_time='neuron'),
}
# fp32 sums in another order (channels-last convolutions): 3e-7 measured for outputs, 4e-6 for
# gradients, and no spike of any layer flips, which the firing rates show exactly
RTOL = 1e-5


class Classifier(nn.Module):
    """Backbone and head under the names of a recognizer, without mmaction2."""

    def __init__(self, settings, classes):
        super().__init__()
        self.backbone = SpikeVideoFormer(**settings, out_indices=(0, 1, 2, 3, 4), output='tuple')
        self.cls_head = nn.ModuleDict(
            dict(lif=build_neuron(), fc=nn.Linear(settings['arch']['embed_dims'][-1], classes))
        )

    def forward(self, x):
        stages = self.backbone(x)
        return stages, self.cls_head['fc'](self.cls_head['lif'](stages[-1].mean((3, 4)).permute(2, 0, 1)))


def load(mode):
    golden = torch.load(GOLDEN / f'{mode}.pth', weights_only=True, map_location=torch.get_default_device())
    settings = official_arch(golden['state_dict'], MODES[mode]['space_time'])
    model = Classifier(settings, golden['num_classes'])
    model.load_state_dict(from_official(golden['state_dict']), strict=True)
    return golden, model.eval()


@pytest.fixture(params=MODES)
def golden_run(request, device):
    if not GOLDEN.is_dir():
        pytest.skip(f'no golden outputs at {GOLDEN}')
    return load(request.param)


def close(ours, golden):
    difference = (ours - golden).norm() / golden.norm()
    assert difference < RTOL, difference


@pytest.mark.parametrize('form', ['plain', 'fused', 'merged', 'events'])
def test_golden_outputs(golden_run, form, monkeypatch):
    golden, model = golden_run
    if form != 'plain':
        model = mmsvf.fuse(model, merge=form == 'merged', engine='events' if form == 'events' else 'dense')
    clip = golden['input'].permute(1, 2, 0, 3, 4)
    with torch.no_grad():
        if form == 'events':  # all of them, however fast they are
            monkeypatch.setattr(EventConv2d, '_measure', lambda self, x: Measured(0.2, 1.0, 0.5))
            monkeypatch.setattr(event_conv, 'DRIFT', float('inf'))
            model(clip)  # the first clip is looked at, the second has bytes
        stages, logits = model(clip)
    names = [f'before_downsample{name}' for name in ('1_2', '2', '3', '4')]
    for ours, name in zip(stages, names):
        close(ours.permute(2, 0, 1, 3, 4), golden['stages'][name])
    close(stages[-1].permute(2, 0, 1, 3, 4), golden['features'])
    close(logits, golden['logits'])


def test_golden_firing_rates_are_the_same_to_the_last_spike(golden_run):
    golden, model = golden_run
    rates = {}
    for name, module in model.named_modules():
        if isinstance(module, FromRest):
            module.register_forward_hook(lambda m, i, o, name=name: rates.update({official_name(name): o.mean()}))
    with torch.no_grad():
        model(golden['input'].permute(1, 2, 0, 3, 4))
    assert set(rates) == set(golden['firing_rates'])
    for name, rate in golden['firing_rates'].items():
        assert rates[name].item() == pytest.approx(float(rate), abs=1e-7), name


def test_golden_gradients(golden_run):
    golden, model = golden_run
    _, logits = model(golden['input'].permute(1, 2, 0, 3, 4))
    loss = logits.square().mean()
    close(loss, golden['loss'])
    loss.backward()
    grads = {official_name(name): p.grad for name, p in model.named_parameters()}
    for name, grad in golden['grads'].items():
        close(grads[name].view_as(grad), grad)


def official(arch=None, score='hamming'):
    """Random weights under the authors' names, from our own model."""
    arch = arch or dict(embed_dims=(8, 16, 24, 32, 40))
    backbone = SpikeVideoFormer(arch=arch, attention=dict(score=score))
    weights = {official_name(f'backbone.{k}'): v for k, v in backbone.state_dict().items()}
    for key in weights:
        if re.fullmatch(r'.*\.mlp\.fc[12]_conv\.weight', key):
            weights[key] = weights[key].squeeze(-1)
    width = backbone.widths[-1]
    weights.update({'head.weight': torch.zeros(10, width), 'head.bias': torch.zeros(10)})
    return weights


def test_names_are_the_authors():
    """Every name of the authors' key list for either score."""
    weights = official()
    assert 'ConvBlock2_2.0.Conv.pwconv1.weight' in weights
    assert 'block3.5.attn.q_conv.0.body.1.bn.running_mean' in weights
    assert 'block4.1.attn.proj_conv.1.weight' in weights
    assert 'block3.0.attn.attn_bn.weight' in weights and 'downsample4.encode_bn.bias' in weights
    assert weights['block3.0.mlp.fc1_conv.weight'].dim() == 3
    assert not any('attn_bn' in key for key in official(score='dot'))
    if GOLDEN.is_dir():
        assert set(weights) == set(torch.load(GOLDEN / '3D_ham.pth', weights_only=True)['state_dict'])


def test_one_error_lists_everything():
    weights = official()
    del weights['block3.2.attn.v_conv.1.bias']
    weights['block3.1.mlp.fc1_bn.weight'] = torch.zeros(7)
    weights['surprise'] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        from_official(weights)
    text = str(error.value)
    assert "missing (1): ['block3.2.attn.v_conv.1.bias']" in text
    assert "extra (1): ['surprise']" in text
    assert 'block3.1.mlp.fc1_bn.weight: (7,) instead of (128,)' in text


def test_weights_name_the_model_they_are_of():
    """SpikeVideoFormer attends jointly, the published Meta-SpikeFormer within a step; another design has to be said."""
    assert official_arch(official())['attention'] == MODES['3D_ham']
    assert official_arch(official(score='dot'))['attention'] == MODES['2D']
    assert official_arch(official(score='dot'), 'joint')['attention'] == MODES['3D_dot']


def test_says_what_is_not_the_authors_model():
    with pytest.raises(ValueError, match=r"not the authors' model.*got layer1\.weight"):
        from_official({'layer1.weight': torch.zeros(3, 3)})


@pytest.mark.parametrize('key', ['model', 'state_dict', None])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_finds_the_weights_as_the_authors_save_them(key, prefix):
    weights = official()
    saved = {prefix + name: value for name, value in weights.items()}
    checkpoint = saved if key is None else {key: saved, 'optimizer': {'state': {}}, 'epoch': 3, 'scaler': {}}
    assert official_weights(checkpoint).keys() == weights.keys()
    assert official_weights({key or 'model': {'conv1.weight': torch.zeros(1)}}) is None


@pytest.mark.parametrize('score', ['hamming', 'dot'])
@pytest.mark.parametrize('head', ['head', 'cls_head'])
def test_round_trip_is_the_identity(score, head):
    weights = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in official(score=score).items()
    }
    weights.update({'head_kd.weight': torch.randn(10, 40), 'head_kd.bias': torch.randn(10)})
    ours = from_official(weights, head)
    assert {f'{head}.fc.weight', f'{head}.fc_kd.bias'} <= ours.keys()
    back = to_official(ours)
    assert back.keys() == weights.keys()
    for name in weights:
        assert back[name].shape == weights[name].shape and torch.equal(back[name], weights[name]), name


def test_what_the_authors_model_has_no_place_for_is_listed():
    backbone = SpikeVideoFormer(
        arch=dict(embed_dims=(8, 8, 8, 8, 8), depths=(1, 1, 2, 1, 1)), attention=dict(space_time='hierarchical')
    )
    with pytest.raises(ValueError, match=r'extra \(\d+\).*units\.1'):
        to_official({f'backbone.{name}': value for name, value in backbone.state_dict().items()})
    with pytest.raises(ValueError, match=r'no weights under backbone'):
        to_official({'layer1.weight': torch.zeros(1)})


def test_mmengine_loads_a_file_of_the_authors_as_it_is(tmp_path):
    weights = official(score='dot')
    torch.save(dict(model={f'module.{k}': v for k, v in weights.items()}, optimizer={}, epoch=1), tmp_path / 'a.pth')
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert set(loaded) == {'state_dict', 'meta'} and 'head.fc.weight' in loaded['state_dict']
    backbone = SpikeVideoFormer(
        arch=dict(embed_dims=(8, 16, 24, 32, 40)),
        attention=dict(score='dot'),
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='backbone.'),
    )
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value.flatten(), weights[official_name(f'backbone.{name}')].flatten()), name


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path):
    save_checkpoint(dict(state_dict={}), tmp_path / 'new' / 'a.pth')
    before = (tmp_path / 'new' / 'a.pth').read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError), match=r'[Cc]an.t (get|pickle) local'):
        save_checkpoint(dict(state_dict={}, broken=lambda: None), tmp_path / 'new' / 'a.pth')
    assert (tmp_path / 'new' / 'a.pth').read_bytes() == before
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['a.pth']
