"""mmsvf.fuse: the same function with fewer layers."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import mmsvf
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.models.necks.memory_read_fuse import MemoryReadFuse
from mmsvf.models.necks.spike_fpn import SpikeFPN
from mmsvf.spiking import LIF, SpikeAttention, build_neuron
from mmsvf.spiking.attention import AttentionRead, SpikeProjection, _Unit
from mmsvf.spiking.fusion import FoldedRepConv, compile_blocks, fold
from mmsvf.spiking.layers import RepConv, SepConv

TINY = dict(embed_dims=(8, 16, 24, 32, 40), depths=(1, 1, 1, 2, 1))
ATTENTIONS = [
    *(dict(score=s, space_time=d) for s in ('hamming', 'dot') for d in ('joint', 'hierarchical', 'factorized')),
    dict(space_time='neuron'),
    dict(space_time='spatial'),
    dict(space_time='causal', window=2),
    dict(score='dot', space_time='causal', reference_size=(2, 3, 1), norm=True),
    dict(norm=False, scale='head'),
    dict(reference_size=(2, 3, 1)),
    dict(score='dot', space_time='factorized', reference_size=(2, 3, 1)),
    dict(score='dot', space_time='block', block_steps=1, norm=True, scale='height'),
]


def shaken(model, *inputs):
    """In evaluation, with statistics of the inputs and norms that are not those of a new model; in fp64."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 1.0, 2.0)
        nn.init.normal_(norm.bias, 0.0, 0.3)
    with torch.no_grad():
        for _ in range(3):
            model.train()(*inputs)
    return model.eval().double()


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('merge', [False, True], ids=['factored', 'merged'])
@pytest.mark.parametrize('neuron', ['official', dict(type='IntegerLIF')], ids=['LIF', 'IntegerLIF'])
@pytest.mark.parametrize('attention', ATTENTIONS, ids=lambda a: '-'.join(map(str, a.values())))
def test_the_same_function(attention, neuron, merge):
    """In fp64 no sum is rounded across a threshold, so membranes and spikes are equal throughout."""
    options = dict(out_indices=(0, 2, 3, 4), output='tuple', neuron=neuron)
    model = SpikeVideoFormer(TINY, attention=dict(**attention, neuron='official'), **options)
    x = torch.randn(2, 3, 4, 32, 32)
    shaken(model, x)
    x = torch.randn(2, 3, 4, 32, 32, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected, found = model(x), mmsvf.fuse(model, merge)(x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), 'it is a copy'
    for a, b in zip(expected, found):
        assert a.std() > 0.1
        torch.testing.assert_close(b, a, rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('norm', [False, True], ids=['no norm', 'norm'])
@pytest.mark.parametrize('merge', [False, True], ids=['factored', 'merged'])
def test_memory_and_feature_pyramid(merge, norm):
    """The segmentor's parts: cross-attention to earlier frames, and SpikeConv's norms."""

    class Neck(nn.Module):
        def __init__(self):
            super().__init__()
            self.memory = MemoryReadFuse([16, 24], reference_size=[(4, 6, 6), (4, 3, 3)])
            self.fpn = SpikeFPN([16, 24], 16, neuron=dict(type='IntegerLIF', max_value=4), norm=norm)

        def forward(self, *x):
            return self.fpn(self.memory(x))

    features = [torch.randn(2, 16, 3, 8, 8), torch.randn(2, 24, 3, 4, 4)]
    model = shaken(Neck(), *features)
    for read in model.memory.reads:
        nn.init.uniform_(read.proj.norm3.weight, 1.0, 2.0)
    fused = mmsvf.fuse(model, merge)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.no_grad():
        for a, b in zip(model(*(x.double() for x in features)), fused(*(x.double() for x in features))):
            torch.testing.assert_close(b, a, rtol=1e-7, atol=1e-9)


def test_no_norm_is_left_and_fewer_products():
    model = SpikeVideoFormer(TINY)
    fused, merged = mmsvf.fuse(model), mmsvf.fuse(model, merge=True)
    for form in (fused, merged):
        assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in form.modules())
        assert not any(p.requires_grad for p in form.parameters()) and not form.training
        form.train()  # nothing to update
    convs = [sum(isinstance(m, nn.Conv2d) for m in form.modules()) for form in (model, fused, merged)]
    # a block of attention: 4 RepConvs of 3 convolutions; one RepConv for q, k and v, one for the output
    assert convs[0] - convs[1] == 3 * 6 and convs[1] - convs[2] == 3 * 4
    assert any(p.requires_grad for p in model.parameters()) and model.training


@pytest.mark.usefixtures('device')
def test_border_of_repconv():
    """The constant that crosses the padding: in the corner, too, of a RepConv whose border is far from zero."""
    conv = RepConv(4, 6)
    for norm in (conv.norm1, conv.norm2, conv.norm3):
        for tensor in (norm.running_mean, norm.bias):
            nn.init.normal_(tensor, 3.0)
        for tensor in (norm.running_var, norm.weight):
            nn.init.uniform_(tensor, 0.5, 4.0)
    conv.eval().double()
    x = (torch.rand(2, 3, 4, 5, 5) < 0.3).double()
    folded = FoldedRepConv([conv])
    torch.testing.assert_close(folded(x), conv(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(folded.merged()(x.flatten(0, 1)), conv(x).flatten(0, 1), rtol=1e-9, atol=1e-9)
    both = FoldedRepConv([conv, conv])(x)
    assert torch.equal(both[:, :, :6], both[:, :, 6:])


@pytest.mark.usefixtures('device')
def test_fp32_differs_only_where_a_spike_flips():
    """On one layer at a time, with the same input: 1e-5, and spikes but for those within 1e-5 of the threshold."""
    model = SpikeVideoFormer(TINY)
    shaken(model, torch.randn(4, 3, 4, 32, 32)).float()
    fused = mmsvf.fuse(model)
    for plain, form in zip(model.stages, fused.stages):
        x = torch.randn(4, 2, plain.downsample.conv.in_channels, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(form.downsample(x), plain.downsample(x), rtol=1e-5, atol=1e-5)
            x = torch.randn(4, 2, plain.downsample.conv.out_channels, 16, 16)
            for a, b in zip(plain.blocks, form.blocks):
                off = (a(x) - b(x)).abs() > 1e-5 * a(x).abs().max()
                assert off.float().mean() < 0.02


def test_clear_errors():
    with pytest.raises(ValueError, match=r'Linear has no layer of mmsvf\.spiking'):
        mmsvf.fuse(nn.Linear(2, 2))
    with pytest.raises(ValueError, match='SpikeVideoFormer is fused already'):
        mmsvf.fuse(mmsvf.fuse(SpikeVideoFormer(TINY)))
    with pytest.raises(ValueError, match='without running statistics'):
        fold(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(AttributeError, match="no attribute 'fus'"):
        mmsvf.fus  # noqa: B018


gpu_only = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')]


@pytest.mark.parametrize('how', [pytest.param('compiled', marks=gpu_only), pytest.param('CUDA graph', marks=gpu_only)])
def test_on_a_gpu_as_one_graph(how):
    """What is launched at once gives what is launched one by one; in fp32, where neurons are kernels."""
    with torch.device('cuda'):
        model = SpikeVideoFormer(TINY)
        fused = mmsvf.fuse(shaken(model, torch.randn(2, 3, 4, 32, 32)).float())
        x = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        expected = fused(x)
        if how == 'compiled':
            found = compile_blocks(fused)(x)
            assert (found - expected).abs().gt(1e-4).float().mean() < 0.02
        else:
            for _ in range(3):
                fused(x)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                found = fused(x)
            graph.replay()
            assert torch.equal(found, expected)


class Halving(LIF):
    """A neuron of a user's own, whose shapes are looked at."""

    def charge(self, x, v):
        return super().charge(x / 2, v)


@pytest.mark.parametrize('space_time, neuron', [('joint', 'official'), ('causal', Halving)])
def test_one_graph(space_time, neuron):
    """torch.compile without a graph break, on the plain and the fused model (traced, not compiled)."""
    attention = dict(space_time=space_time, neuron=neuron, reference_size=(2, 3, 1))
    model = SpikeVideoFormer(TINY, neuron=dict(type='IntegerLIF'), attention=attention).eval()
    x = torch.randn(1, 3, 3, 32, 32)
    for form in (model, mmsvf.fuse(model)):
        compiled = torch.compile(form, fullgraph=True, backend='eager')
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), form(x))
    assert build_neuron().operator == 'lif'


COMPUTED = {
    'weight_norm': (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    'spectral_norm': (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    'parametrizations': (
        nn.utils.parametrizations.weight_norm,
        lambda m: parametrize.remove_parametrizations(m, 'weight'),
    ),
    'prune': (lambda m: prune.l1_unstructured(m, 'weight', 0.5), lambda m: prune.remove(m, 'weight')),
}


@pytest.mark.parametrize('kind', COMPUTED)
@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_weights_that_are_computed(kind):
    """Folded, they would be computed anew from what they were before: refused, and right once they are parameters."""
    model, x = SpikeVideoFormer(TINY), torch.randn(1, 3, 2, 32, 32)
    convs = model.stages[0].downsample.conv, model.stages[3].blocks[0].attn.units[0].q.conv.pointwise2
    for conv in convs:
        COMPUTED[kind][0](conv)
    model.eval()
    with pytest.raises(ValueError, match=r'stages\.0\.downsample\.conv\.weight is no parameter but computed'):
        mmsvf.fuse(model)
    for conv in convs:
        COMPUTED[kind][1](conv)
    shaken(model, x)
    with torch.no_grad():
        torch.testing.assert_close(mmsvf.fuse(model)(x.double()), model(x.double()), rtol=1e-7, atol=1e-9)


def test_hooks():
    """Hooks of what fusion replaces are named; what a hook on the copy keeps without a clone is overwritten."""
    model, seen = SpikeVideoFormer(TINY, attention=dict(neuron=Halving)).eval(), []  # a look at its shapes is none
    model.stages[3].register_forward_hook(lambda *_: None)  # a stage stays what it is
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        fused = mmsvf.fuse(model)
    model.stages[3].blocks[0].attn.units[0].k.register_forward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match=r"hooks on \['stages\.3\.blocks\.0\.attn\.units\.0\.k'\].*clone"):
        mmsvf.fuse(model)
    conv = fused.stages[3].blocks[0].mlp.fc1
    conv.register_forward_hook(lambda _, __, out: seen.extend([out, out.clone()]))
    with torch.no_grad():
        fused(torch.randn(1, 3, 2, 32, 32))
    kept, cloned = seen
    assert set(kept.unique().tolist()) <= {0.0, 1.0} and cloned.unique().numel() > 2


class Louder(SepConv):
    """A subclass whose methods are those of its base."""


class Doubled(SepConv):
    def forward(self, x):
        return 2 * super().forward(x)


class Listed(SepConv):
    """Another forward, of which it says that its base's list holds."""

    folds = SepConv.folds

    def forward(self, x):
        return super().forward(x) * 2


class OtherRead(AttentionRead):
    def forward(self, q, k, v):
        return super().forward(q, k, v) * v


class OtherProjection(SpikeProjection):
    def forward(self, x):
        return 1 - super().forward(x)


class OtherUnit(_Unit):
    def project(self, x):
        return super().project(x)[::-1]


class OtherConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(x.flip(-1))


SEP, UNIT = 'stages.0.blocks.0.sep_conv', 'stages.3.blocks.0.attn.units.0'
SUBCLASSES = {
    'inherits': (SEP, Louder, '', 0),
    'overrides': (SEP, Doubled, rf'{SEP} \(Doubled\)', 2),
    'says how': (SEP, Listed, '', 0),
    'read': (f'{UNIT}.read', OtherRead, rf'{UNIT}.read \(OtherRead\)', 1),
    'projection': (f'{UNIT}.k', OtherProjection, rf'{UNIT}.k \(OtherProjection\)', 3),
    'unit': (UNIT, OtherUnit, rf'{UNIT} \(OtherUnit\)', 13),
    'part': (f'{SEP}.pointwise1', OtherConv, rf'{SEP}.norm1 \(BatchNorm2d\), {SEP}.norm2', 2),
}


@pytest.mark.parametrize('case', SUBCLASSES)
def test_a_subclass_is_folded_or_named(case, caplog):
    """What does something else than the class that says how it folds stays plain; the result is right either way."""
    name, kind, logged, norms = SUBCLASSES[case]
    model, x = SpikeVideoFormer(TINY), torch.randn(2, 3, 4, 32, 32)
    model.get_submodule(name).__class__ = kind
    shaken(model, x)
    fused = mmsvf.fuse(model)
    assert re.search(logged, caplog.text) if logged else not caplog.text
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fused.modules()) == norms
    with torch.no_grad():
        torch.testing.assert_close(fused(x.double()), model(x.double()), rtol=1e-7, atol=1e-9)


def test_other_batch_norms_are_named(caplog):
    model = nn.Sequential(RepConv(4, 4), nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4))
    fused = mmsvf.fuse(model)
    assert isinstance(fused[0], FoldedRepConv) and caplog.messages[0].endswith('BatchNorms: 2 (BatchNorm3d)')


def test_neurons_that_learn_stay_several():
    """Queries, keys and values come from one product, and each from its own leak."""
    model, x = SpikeAttention(16, 4, neuron='LearnableLIF'), torch.randn(3, 2, 16, 4, 4) * 3
    unit = model.units[0]
    for projection, leak in ((unit.q, -2.0), (unit.k, 0.0), (unit.v, 2.0)):
        nn.init.constant_(projection.lif.w, leak)
    shaken(model, x)
    with torch.no_grad():
        torch.testing.assert_close(mmsvf.fuse(model)(x.double()), model(x.double()), rtol=1e-7, atol=1e-9)


def softened(q, k, v, scale):
    """A score of a user's own, which is not linear in its scale."""
    return torch.softmax(q @ k.transpose(-2, -1) * scale, -1) @ v


def test_scores_of_ones_own_keep_their_scale():
    model, x = SpikeAttention(16, 4, score=softened, scale=0.25), torch.randn(3, 2, 16, 4, 4) * 3
    shaken(model, x)
    with torch.no_grad():
        torch.testing.assert_close(mmsvf.fuse(model)(x.double()), model(x.double()), rtol=1e-7, atol=1e-9)


def test_other_neurons_stay_several():
    model, x = SpikeAttention(16, 4), torch.randn(3, 2, 16, 4, 4) * 3
    model.units[0].k.lif = LIF(decay_input=False)
    shaken(model, x)
    with torch.no_grad():
        torch.testing.assert_close(mmsvf.fuse(model)(x.double()), model(x.double()), rtol=1e-7, atol=1e-9)


class Residual(nn.Module):
    """A block whose one neuron fires at what the shortcut reads, too."""

    def __init__(self):
        super().__init__()
        self.conv = SepConv(8)
        self.conv.lif2 = self.conv.lif1

    def forward(self, x):
        """Membranes TBCHW to membranes."""
        return x + self.conv(x)


def test_a_neuron_in_two_places_overwrites_nothing():
    x = torch.randn(3, 2, 8, 6, 6)
    model = shaken(Residual(), x).float()
    with torch.no_grad():
        kept, y = x.clone(), mmsvf.fuse(model)(x)
        assert torch.equal(x, kept)
        torch.testing.assert_close(y, model(x))
