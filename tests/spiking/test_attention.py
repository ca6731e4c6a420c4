import pytest
import torch
from torch import nn

from mmsvf.spiking import SpikeAttention, SpikeTransformerBlock
from mmsvf.spiking.attention import SPACE_TIME, AttentionRead, count_keys, merge_heads, split_heads
from mmsvf.spiking.neuron import build_neuron
from tests.awake import awake

DESIGNS = ['joint', 'causal', 'hierarchical', 'factorized', 'neuron', 'spatial', 'temporal', 'block']
SCORES = ['hamming', 'dot']
WIDTH = 16


def membranes(steps=4, batch=2):
    return torch.randn(steps, batch, WIDTH, 4, 6) * 3


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('neuron', ['official', 'paper'])
@pytest.mark.parametrize('design', DESIGNS)
@pytest.mark.parametrize('score', SCORES)
def test_all_pairs(score, design, neuron):
    block = awake(SpikeTransformerBlock(WIDTH, 4, 4, neuron, dict(score=score, space_time=design)))
    x = membranes().requires_grad_()
    y = block(x)
    assert y.shape == x.shape
    y.square().mean().backward()
    dead = [name for name, p in block.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead, dead
    block.eval()
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize(
    'projection, design, squares, all_parameters',
    [
        ('pointwise', 'joint', 4, 4.02),
        ('pointwise', 'causal', 4, 4.02),
        ('pointwise', 'hierarchical', 8, 8.04),
        ('pointwise', 'factorized', 7, 7.03),
        ('rep', 'joint', 8, 8.12),
        ('rep', 'hierarchical', 16, 16.24),
        ('rep', 'factorized', 16, 16.21),
    ],
)
def test_parameters(projection, design, squares, all_parameters):
    """Table 1 has 4, 8 and 7 C^2, which are those of 1x1 projections; a RepConv has two 1x1 convolutions (D22)."""
    width = 512
    with torch.device('meta'):
        attention = SpikeAttention(width, space_time=design, projection=projection)
    sizes = [p.numel() for p in attention.parameters()]
    assert sum(size for size in sizes if size >= width**2) == squares * width**2
    assert round(sum(sizes) / width**2, 2) == all_parameters


def changed_steps(attention, at, steps=4, trials=20):
    """Steps whose output changes, in any of some trials, with the input of step ``at``."""
    attention = awake(attention).eval()
    changed = torch.zeros(steps, dtype=torch.bool)
    for _ in range(trials):
        x = membranes(steps)
        other = x.clone()
        other[at] = -other[at]
        changed |= (attention(x) != attention(other)).flatten(1).any(1)
    return changed.nonzero().flatten().tolist()


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('score', SCORES)
def test_what_a_step_depends_on(score):
    assert changed_steps(SpikeAttention(WIDTH, 4, score, 'spatial'), at=1) == [1]
    assert changed_steps(SpikeAttention(WIDTH, 4, score, 'neuron'), at=1) == [1, 2, 3]
    for design in ('joint', 'hierarchical', 'factorized', 'temporal'):
        assert changed_steps(SpikeAttention(WIDTH, 4, score, design), at=3) == [0, 1, 2, 3]


@pytest.mark.parametrize('design', DESIGNS)
@pytest.mark.parametrize('score', SCORES)
def test_gradients_of_a_single_image(score, design):
    """In explicit steps and with channels last in the gradient: those of the image in a batch of two."""
    options = dict(score=score, space_time=design, block_steps=1)
    attention = awake(SpikeAttention(WIDTH, 4, **options), membranes()).double()
    x, weights = membranes(1, 1).double(), torch.randn(4, 6, WIDTH).double()
    found = []
    for batch in (x, x.expand(-1, 2, -1, -1, -1)):
        attention.zero_grad()
        (attention(batch)[:, :1].movedim(2, -1) * weights).sum().backward()
        found.append([p.grad for p in attention.parameters()])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other)
    assert found[0][0].any()


@pytest.mark.parametrize('tokens', ['clip', 'frame', 'location'])
def test_heads_split_and_merge(tokens):
    x = membranes()
    y = split_heads(x, tokens, 4)
    assert y.shape[1:] == {'clip': (4, 96, 4), 'frame': (2, 4, 24, 4), 'location': (24, 4, 4, 4)}[tokens]
    assert torch.equal(merge_heads(y, tokens, (4, 2, 4, 6)), x)


@pytest.mark.usefixtures('device')
def test_joint_attention_is_its_definition():
    """Eq. 9 written with loops over heads, on the tokens of the whole clip."""
    attention = awake(SpikeAttention(WIDTH, 4)).eval()
    unit = attention.units[0]
    x = membranes()
    spikes = unit.lif(x)
    q, k, v = (getattr(unit, name)(spikes) for name in 'qkv')
    scores = torch.zeros_like(q)
    for b in range(2):
        for m in range(4):
            one = slice(4 * m, 4 * m + 4)
            q_ND, k_ND, v_ND = (y[:, b, one].permute(0, 2, 3, 1).reshape(-1, 4) for y in (q, k, v))
            read = ((2 * q_ND - 1) @ (2 * k_ND - 1).T) @ v_ND / (2 * WIDTH)
            scores[:, b, one] = read.view(4, 4, 6, 4).permute(0, 3, 1, 2)
    normed = unit.read.norm(scores.flatten(0, 1)).unflatten(0, (4, 2))
    expected = unit.proj(build_neuron('official')(normed))
    torch.testing.assert_close(attention(x), expected)


def test_defaults_are_the_authors():
    hamming, dot = SpikeAttention(64).units[0].read, SpikeAttention(64, score='dot').units[0].read
    assert (hamming.scale, hamming.lif.v_threshold, hamming.norm is None) == (1 / 128, 1.0, False)
    assert (dot.scale, dot.lif.v_threshold, dot.norm is None) == (0.125, 0.5, True)
    assert SpikeAttention(64, scale='head').units[0].read.scale == 1 / 16
    assert SpikeAttention(64, scale=1 / 512).units[0].read.scale == 1 / 512


def test_scale_is_part_of_the_threshold():
    """Eq. 10: without BatchNorm a scale s fires as a threshold 1/s times as high."""
    scaled = awake(SpikeAttention(WIDTH, 4, norm=False, scale=1 / 32)).eval()
    merged = SpikeAttention(WIDTH, 4, norm=False, scale=1.0, v_threshold=32.0).eval()
    merged.load_state_dict(scaled.state_dict())
    x = membranes()
    assert torch.equal(scaled(x), merged(x))
    rates = [
        awake(SpikeAttention(WIDTH, 4, norm=False, scale=s)).units[0].read(*torch.ones(3, 4, 2, WIDTH, 4, 6)).mean()
        for s in (1.0, 1e-4)
    ]
    assert rates[0] > rates[1]  # the ablation of s has an effect (D4)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(score='haming'), r"score='haming'.*\['dot', 'hamming'\]"),
        (dict(space_time='jont'), r"space_time='jont'.*joint"),
        (dict(scale='heads'), r"scale='heads'.*width"),
        (dict(projection='1x1'), r"projection='1x1'.*pointwise"),
        (dict(pool=True, space_time='factorized'), 'pool=True is not defined'),
        (dict(scale=-1), r'scale=-1'),
        (dict(scor='dot'), r"attention 'SpikeAttention' has no option 'scor'; did you mean 'score'"),
        (dict(neuron='IntegerLIF'), r'IntegerLIF\(max_value=4\) cannot make attention spikes'),
        (dict(neuron='Rectifier'), r'Rectifier cannot make the spikes of score="hamming": .*score="dot"'),
        (dict(neuron='Rectifier', space_time='factorized'), r'Rectifier cannot make the spikes'),
        (dict(num_heads=5), r'num_heads=5 does not divide the width 16'),
        (dict(num_heads=0), r'num_heads=0; at least 1'),
        (dict(num_heads=-8), r'num_heads=-8; at least 1'),
        (dict(num_heads=4.0), r'num_heads=4\.0; at least 1, a whole number'),
        (dict(block_steps=1.5), r'block_steps=1\.5; at least 1, a whole number'),
        (dict(scale=float('inf')), r'scale=inf; a number above 0'),
        (dict(v_threshold=float('nan')), r'v_threshold=nan'),
        (dict(neuron=None), r'neuron=None cannot make attention spikes'),
        (dict(reference_size=(4, 30)), r'reference_size=\(4, 30\); \(T, H, W\) of the feature map'),
        (dict(reference_size=(4, 0, 30)), r'reference_size=\(4, 0, 30\)'),
        (dict(reference_size=4), 'reference_size=4; '),
        (dict(reference_size=(True, 3, 3)), r'reference_size=\(True, 3, 3\); '),
        (dict(reference_size=(4, 30, 30), scale='height'), r"scale='height' follows the size .* no reference_size"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        SpikeTransformerBlock(WIDTH, 4, attention=options)


@pytest.mark.parametrize('score', ['dot', 'torch.nn.functional.scaled_dot_product_attention'])
@pytest.mark.parametrize('design', ['joint', 'factorized'])
def test_real_values_where_the_score_has_no_signs(score, design):
    attention = SpikeAttention(WIDTH, 4, score, design, neuron='Rectifier')
    assert attention(membranes()).isfinite().all()


def test_table_of_designs_is_complete():
    assert sorted(SPACE_TIME) == sorted(DESIGNS)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('scale', ['height', 'volume', 0.125])
def test_block_attention_is_its_definition(scale):
    """STAtten: within each chunk of steps Q (K^T V), head by head, written with loops."""
    attention = awake(SpikeAttention(WIDTH, 4, 'dot', 'block', scale=scale, block_steps=2)).eval()
    unit, x = attention.units[0], membranes(6)
    spikes = unit.lif(x)
    q, k, v = unit.q(spikes), unit.k(spikes), unit.v(spikes)
    factor = {'height': 1 / 4, 'volume': 1 / (4 * 4 * 2)}.get(scale, scale)
    expected = torch.zeros_like(q)
    for chunk in range(0, 6, 2):
        for b in range(x.shape[1]):
            for head in range(4):
                at = slice(chunk, chunk + 2), b, slice(4 * head, 4 * head + 4)
                flat = [part[at].movedim(1, -1).reshape(-1, 4) for part in (q, k, v)]
                out = factor * flat[0] @ (flat[1].T @ flat[2])
                expected[at] = out.reshape(2, 4, 6, 4).movedim(-1, 1)
    assert torch.equal(attention(x), unit.proj(unit.read.lif(expected))) and expected.any()


@pytest.mark.usefixtures('device')
def test_one_block_is_joint_attention():
    block = awake(SpikeAttention(WIDTH, 4, 'dot', 'block', block_steps=4)).eval()
    joint = SpikeAttention(WIDTH, 4, 'dot', 'joint').eval()
    joint.load_state_dict(block.state_dict())
    x = membranes(4)
    assert torch.equal(block(x), joint(x))


def test_blocks_are_apart_but_for_membranes():
    """A later block does not reach an earlier one; within a block, a step reaches those before it."""
    assert changed_steps(SpikeAttention(WIDTH, 4, 'dot', 'block'), at=3) == [2, 3]


def test_block_attention_is_linear_in_time():
    from torch.utils.flop_counter import FlopCounterMode

    attention = SpikeAttention(WIDTH, 4, 'dot', 'block', block_steps=2).eval()
    counts = []
    for steps in (4, 16):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            attention(membranes(steps))
        counts.append(counter.get_total_flops())
    assert counts[1] <= 4 * counts[0]


def test_pointwise_projections_and_gated_input():
    """STAtten's form for events, written out; 1x1 convolutions have 4 D^2 weights, and a bias of the output."""
    options = dict(space_time='block', projection='pointwise', scale='volume', pool=True)
    attention = awake(SpikeAttention(WIDTH, 4, 'dot', **options)).eval()
    convs = [m for m in attention.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(conv.weight.numel() for conv in convs) == 4 * WIDTH**2
    assert [conv.bias is not None for conv in convs] == [False, False, False, True]
    unit, x = attention.units[0], membranes()

    def pooled(spikes):
        return torch.nn.functional.max_pool2d(spikes.flatten(0, 1), 3, 1, 1).unflatten(0, x.shape[:2])

    spikes = unit.lif(x)
    read = unit.read(pooled(unit.q(spikes)), pooled(unit.k(spikes)), pooled(unit.v(spikes)))
    gated = read * pooled(spikes) + pooled(spikes)
    assert set(gated.unique().tolist()) == {0.0, 1.0, 2.0}
    torch.testing.assert_close(attention(x), unit.proj(gated))


def test_steps_that_a_block_does_not_divide():
    with pytest.raises(ValueError, match='block_steps=3 does not divide the 4 time steps'):
        SpikeAttention(WIDTH, 4, 'dot', 'block', block_steps=3)(membranes(4))
    with pytest.raises(ValueError, match='block_steps=0; at least 1'):
        SpikeAttention(WIDTH, 4, block_steps=0)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize(
    'options', [dict(), dict(norm=False), dict(score='dot'), dict(score='dot', norm=True)], ids=str
)
@pytest.mark.parametrize('design', DESIGNS)
def test_at_its_reference_size_a_read_is_the_sum(design, options):
    """A checkpoint of the authors' sums is reproduced bit for bit."""
    sums = awake(SpikeAttention(WIDTH, 4, space_time=design, **options)).eval()
    means = SpikeAttention(WIDTH, 4, space_time=design, reference_size=(4, 4, 6), **options).eval()
    means.load_state_dict(sums.state_dict())
    x = membranes()
    if design == 'causal':  # whose last frame alone has seen as many; before it the neurons' past differs
        sums.units[0].read.lif = means.units[0].read.lif = sums.units[0].proj = means.units[0].proj = nn.Identity()
        assert torch.equal(means(x)[-1], sums(x)[-1])
    else:
        assert torch.equal(means(x), sums(x))


@pytest.mark.parametrize('score', SCORES)
@pytest.mark.parametrize('tokens', ['clip', 'frame', 'location', 'block'])
def test_more_of_the_same_keys_read_the_same(tokens, score):
    """Every key twice: the sum doubles, the mean at a reference number stays."""

    def read(spikes, **options):
        layer = AttentionRead(WIDTH, 4, tokens, score, norm=False, block_steps=2, **options)
        layer.lif = torch.nn.Identity()
        return layer(*spikes)

    spikes = (torch.rand(3, 4, 2, WIDTH, 4, 6) < 0.3).float()
    axis = 0 if tokens == 'location' else 4  # of TBCHW
    once, twice = read(spikes), spikes.repeat_interleave(2, axis + 1)
    assert once.any() and torch.equal(read(twice), 2 * once.repeat_interleave(2, axis))
    reference = count_keys(tokens, (4, 4, 6), steps=2)
    assert torch.equal(read(twice, reference_tokens=reference), once.repeat_interleave(2, axis))


@pytest.mark.parametrize('ratio', [0, -1, float('nan'), float('inf'), 0.01])
def test_hidden_width_of_nothing(ratio):
    with pytest.raises(ValueError, match=rf'mlp_ratio={ratio}; a number that makes at least 1 of 16 channels'):
        SpikeTransformerBlock(WIDTH, 4, ratio)


@pytest.mark.parametrize('design', DESIGNS)
@pytest.mark.parametrize('size', [dict(steps=0), dict(batch=0)], ids=str)
def test_empty_clip(design, size):
    with pytest.raises(ValueError, match=r'SpikeAttention got an empty input of shape .* \(time, batch, channels'):
        SpikeAttention(WIDTH, 4, space_time=design)(membranes(**size))
