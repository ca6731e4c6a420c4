"""A user's own neuron, score, attention and projection, in a config, without a change to mmsvf."""

import re

import pytest
import torch
from torch import nn

import mmsvf
from mmsvf.models import SpikeVideoFormer
from mmsvf.registry import MODELS
from mmsvf.spiking import LIF, SpikeAttention, build_neuron, hamming_attention
from tests.awake import awake
from tests.conftest import ROOT, python_path
from tests.tools import forked

# the page's module
OWN = re.search(r'```python\n(import torch.*?)```', (ROOT / 'docs' / 'own_parts.md').read_text(), re.S)[1]
TINY = dict(embed_dims=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1, 1))
CHOICES = {
    'neuron': dict(neuron=dict(type='AdaptiveLIF', tau=3.0)),
    'score': dict(attention=dict(score='overlap_attention', scale=0.25)),
    'attention': dict(attention=dict(type='MeanAttention')),
}


@pytest.fixture(scope='module')
def own():
    """The classes of ``OWN``, registered for as long as these tests run."""
    before = set(MODELS._module_dict), set(MODELS.parent._module_dict)
    space = {'__name__': 'own'}
    exec(OWN, space)
    yield space
    for registry, names in zip((MODELS, MODELS.parent), before):
        for name in set(registry._module_dict) - names:
            del registry._module_dict[name]


def model(**choice):
    return MODELS.build(dict(type='SpikeVideoFormer', arch=TINY, num_heads=2, **choice))


@pytest.mark.parametrize('choice', CHOICES)
def test_in_a_config(own, choice):
    """It is what runs: another output, a gradient for each parameter; fused, it gives the same."""
    x = torch.randn(2, 3, 4, 32, 32)
    backbone = awake(model(**CHOICES[choice]), x).double()
    out = backbone(x.double())
    assert out.abs().sum() > 0
    fused = mmsvf.fuse(backbone)
    torch.testing.assert_close(fused(x.double()), out)
    out.square().sum().backward()
    missing = [name for name, p in backbone.named_parameters() if p.grad is None]
    assert not missing, missing


def test_is_used_where_it_was_asked_for(own):
    neurons = [m for m in model(**CHOICES['neuron']).modules() if isinstance(m, LIF)]
    assert {type(m) for m in neurons} == {own['AdaptiveLIF']} and neurons[0].tau == 3.0
    read = model(**CHOICES['score']).stages[3].blocks[0].attn.units[0].read
    assert read.attend is own['overlap_attention'] and read.scale == 0.25
    assert type(model(**CHOICES['attention']).stages[4].blocks[0].attn) is own['MeanAttention']


def test_a_neuron_that_changes_a_step_is_not_given_the_operator_of_another():
    """Its equation counts, although its class has a kernel: one step that it takes is a step of the clip."""

    class Doubling(LIF):
        def charge(self, x, v):
            return super().charge(2 * x, v)

    x = torch.randn(5, 3, 7)
    assert torch.equal(Doubling()(x), LIF()(2 * x)) and not torch.equal(Doubling()(x), LIF()(x))
    assert not Doubling.has_operator and LIF.has_operator

    class Renamed(LIF):
        pass

    assert Renamed.has_operator


def test_a_neuron_that_looks_at_several_channels_stays_one_a_projection():
    class Winner(nn.Module):
        """The largest channel of each place alone may fire."""

        def __init__(self, v_threshold=1.0):
            super().__init__()
            self.v_threshold = v_threshold

        def forward(self, x):
            return ((x >= self.v_threshold) & (x == x.amax(-3, keepdim=True))).to(x.dtype)

    attention = awake(SpikeAttention(16, 4, neuron=Winner), x := torch.randn(4, 2, 16, 5, 6) * 3).double()
    torch.testing.assert_close(mmsvf.fuse(attention)(x.double()), attention(x.double()))


def test_given_itself():
    """In plain PyTorch a class or a function needs no name."""
    attention = SpikeAttention(16, 4, score=hamming_attention, neuron=dict(type=LIF, tau=4.0), projection='pointwise')
    assert (
        attention.units[0].read.attend is hamming_attention
        and attention.units[0].read.signed
        and attention.units[0].lif.tau == 4.0
    )
    assert type(build_neuron(LIF)) is LIF


def test_parts_are_registered():
    """In scope mmsvf alone: another library may have a RepConv."""
    built = MODELS.parent.build(dict(type='mmsvf.SpikeAttention', channels=64))
    assert type(built) is SpikeAttention
    assert MODELS.get('hamming_attention') is hamming_attention
    assert type(MODELS.parent.build(dict(type='mmsvf.LIF', tau=3.0))) is LIF
    assert MODELS.parent.build(dict(type='mmsvf.MemoryRead', channels=16)).proj is not None
    assert MODELS.parent.get('RepConv') is None


@pytest.mark.parametrize(
    'options, message',
    [
        (
            dict(neuron='Leeky'),
            r"neuron='Leeky'; choose one of \['IntegerLIF', 'LIF', 'LearnableLIF', 'Rectifier'\], a preset of ",
        ),
        (dict(attention=dict(score='cosine')), r"score='cosine'; choose one of \['dot', 'hamming'\], or your own"),
        (
            dict(attention=dict(score=torch.add, space_time='causal')),
            "score=.*'causal' keeps sums, .* of .'dot', 'hamming'",
        ),
        (dict(attention=dict(projection='full')), r"projection='full'; choose one of \['pointwise', 'rep'\]"),
        (dict(attention=dict(type='Attention9')), r"attention type='Attention9'; choose one of \['SpikeAttention'\]"),
    ],
)
def test_unknown_names(options, message):
    with pytest.raises(ValueError, match=message):
        SpikeVideoFormer(TINY, **options)


class Averaging(nn.Module):
    """A neuron, an attention or a projection that forgets the time axis, or keeps it with a length of 1."""

    def __init__(self, *channels, v_threshold=1.0, keepdim=True):
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x):
        return x.mean(0, keepdim=self.keepdim)


class NoModule:
    def __init__(self, channels=None, v_threshold=1.0):
        pass

    def __call__(self, x):
        return x


class Open(nn.Module):
    """A neuron that takes any option."""

    def __init__(self, **kwargs):
        super().__init__()
        self.v_threshold = kwargs.get('v_threshold', 1.0)

    def forward(self, x):
        return (x >= self.v_threshold).to(x.dtype)


class HandsOn(LIF):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class NoThreshold(nn.Module):
    def forward(self, x):
        return (x >= 1).to(x.dtype)


class Narrow(nn.Module):
    """An attention of one width."""

    def __init__(self):
        super().__init__()


def spikes(x):
    return (x >= 1).to(x.dtype)


def affinity(q, k, v, scale):
    return scale * q @ k.transpose(-2, -1)


@pytest.mark.parametrize(
    'options, message',
    [
        (
            dict(attention=dict(type=Averaging)),
            r'attention .*Averaging.* gives \(1, 2, 16, 2, 2\) for an input of shape',
        ),
        (
            dict(attention=dict(type=Averaging, keepdim=False)),
            r'gives \(2, 16, 2, 2\) for an input of shape \(4, 2, 16, 2, 2\); have it return a tensor of shape \(4, 2,',
        ),
        (dict(neuron=Averaging), r'neuron .*Averaging.* gives \(1, 2, 8, 16, 16\) .* of shape \(4, 2, 8, 16, 16\)$'),
        (dict(attention=dict(projection=Averaging)), r'projection .*Averaging.* gives \(1, 2, 16, 2, 2\) for an'),
        (
            dict(attention=dict(score=affinity)),
            r'score .*affinity.* gives \(2, 2, 16, 16\) for .* of shape \(2, 2, 16, 8\)',
        ),
        (dict(attention=dict(type=NoModule)), r'attention .*NoModule.* makes a NoModule; it must be a torch.nn.Module'),
        (
            dict(neuron=NoModule),
            r'neuron .*NoModule.* makes a NoModule; it must be a torch.nn.Module: derive the class',
        ),
        (dict(neuron=spikes), r"neuron .*spikes.*: missing a required argument: 'x'; give the class of a torch.nn.Mod"),
        (dict(attention=dict(type=Narrow)), r'attention .* cannot be made: too many positional arguments'),
        (dict(neuron=NoThreshold), r"to which a layer gives v_threshold, has no option 'v_threshold'; it takes none"),
        (
            dict(neuron=dict(type=HandsOn, tua=3.0)),
            r"neuron .*HandsOn.* has no option 'tua'; did you mean 'tau'\? choose",
        ),
        (
            dict(attention='MeanAttention'),
            r"attention='MeanAttention'; a dict of options, .* or dict\(type=...\) for your",
        ),
        (dict(attention=dict(score=dict(type='dot'))), r"score=.'type': 'dot'.; choose one of \['dot', 'hamming'\]"),
        (dict(neuron=['LIF']), r"neuron=\['LIF'\]; choose one of \['IntegerLIF', 'LIF', 'LearnableLIF', 'Rectifier'\]"),
        (dict(neuron=dict(type=dict())), r"neuron=\{\}; choose one of \['IntegerLIF'"),
        (
            dict(attention=dict(_delete_=True)),
            r"no option '_delete_'; leave it out, since the base config has nothing to",
        ),
    ],
)
def test_wrong_parts(options, message):
    with pytest.raises(ValueError, match=message):
        SpikeVideoFormer(TINY, num_heads=2, **options)(torch.randn(2, 3, 4, 32, 32))


def test_options_that_a_class_hands_on():
    """Any where it takes them itself; where its base takes them, the base's."""
    neurons = {type(m): m for kind in (Open, HandsOn) for m in model(neuron=dict(type=kind, v_threshold=0.7)).modules()}
    assert neurons[Open].v_threshold == neurons[HandsOn].v_threshold == 0.7


def test_through_custom_imports(tmp_path):
    """A config that names a user's module, with a tool of ours."""
    (tmp_path / 'own_parts.py').write_text(OWN)
    (tmp_path / 'config.py').write_text(
        f'_base_ = {str(ROOT / "configs" / "demo" / "svf_moving_digits.py")!r}\n'
        "custom_imports = dict(imports=['own_parts'])\n"
        "model = dict(backbone=dict(neuron=dict(type='AdaptiveLIF'), attention=dict(type='MeanAttention')))\n"
    )
    environment = {'PATH': '', 'PYTHONPATH': python_path(tmp_path)}
    tool = ROOT / 'tools' / 'analysis' / 'get_flops.py'
    code, output, error = forked.run(tool, [str(tmp_path / 'config.py')], ROOT, environment, tmp_path)
    assert code == 0, error[-2000:]
    assert 'multiply-adds' in output
