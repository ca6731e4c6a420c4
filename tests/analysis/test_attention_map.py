"""One row of the attention, against the matrix of all pairs."""

import pytest
import torch

from mmsvf.analysis.attention_map import attention_reads, attention_row
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.spiking.attention import split_heads
from mmsvf.spiking.hamming import hamming_similarity
from mmsvf.spiking.memory import MemoryRead


def build(**attention):
    torch.manual_seed(0)
    backbone = SpikeVideoFormer(
        dict(embed_dims=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1, 1)), num_heads=2, attention=attention
    )
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 0.6)
            torch.nn.init.constant_(module.weight, 2.0)
    return backbone.eval()


QUERY = 0.6, 0.4, 0.9  # step 2 of 4, row 1 of 3, column 3 of 4


@pytest.mark.parametrize('score', ['hamming', 'dot'])
def test_row_of_the_full_matrix(score):
    backbone, clip = build(score=score), torch.randn(1, 3, 4, 48, 64)
    layer = list(attention_reads(backbone))[-1]
    seen = []
    attention_reads(backbone)[layer].register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    rows = {}
    for head in (None, 0, 1):
        found = attention_row(backbone, lambda: backbone(clip), layer, QUERY, head)
        rows[head] = found.scores
        assert found.query == (2, 1, 3) and not found.remark()
        heads = slice(None) if head is None else slice(head, head + 1)
        q, k = (split_heads(x, 'clip', 2)[0][heads] for x in seen[0])
        assert found.query_rate == pytest.approx(q[:, (2 * 3 + 1) * 4 + 3].mean().item())
        assert found.key_rate == pytest.approx(k.mean().item()) and 0 < found.key_rate < 1
    q, k = (split_heads(x, 'clip', 2)[0] for x in seen[0])
    full = torch.stack([hamming_similarity(q[m], k[m]) for m in range(2)])
    if score == 'dot':
        full = q @ k.transpose(-2, -1) / q.shape[-1]
    expected = full[:, (2 * 3 + 1) * 4 + 3].view(2, 4, 3, 4)
    torch.testing.assert_close(rows[0], expected[0])
    torch.testing.assert_close(rows[1], expected[1])
    torch.testing.assert_close(rows[None], expected.mean(0))
    assert expected.std() > 0


def test_tokens_that_do_not_meet_are_nan():
    backbone, clip = build(space_time='hierarchical'), torch.randn(1, 3, 4, 48, 64)
    frame, location = [name for name in attention_reads(backbone) if 'stages.3' in name]
    row, *_ = attention_row(backbone, lambda: backbone(clip), frame, QUERY)
    assert row[2].isfinite().all() and row[[0, 1, 3]].isnan().all()
    row, *_ = attention_row(backbone, lambda: backbone(clip), location, QUERY)
    assert row.isfinite().sum() == 4 and row[:, 1, 3].isfinite().all()


def test_without_a_query_it_is_a_token_that_spikes():
    backbone, clip = build(), torch.randn(1, 3, 4, 48, 64)
    layer, seen = list(attention_reads(backbone))[-1], []
    attention_reads(backbone)[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    found = attention_row(backbone, lambda: backbone(clip), layer, None)
    t, y, x = found.query
    rates = seen[0][2, 0].mean(0)
    assert t == 2 and rates[y, x] == rates.max() == pytest.approx(found.query_rate)


def test_spikes_that_are_not_there_are_said():
    backbone, clip = build(), torch.randn(1, 3, 4, 48, 64)
    layer = list(attention_reads(backbone))[-1]
    read = attention_reads(backbone)[layer]
    for silent, said in (
        ((0, 1), 'no spikes: neither the query nor any key fires here'),
        ((0,), 'the query has no spikes'),
        ((1,), 'every token has the score'),
    ):
        handle = read.register_forward_pre_hook(
            lambda _, args, silent=silent: tuple(x * 0 if i in silent else x for i, x in enumerate(args)), prepend=True
        )
        assert attention_row(backbone, lambda: backbone(clip), layer, None).remark().startswith(said)
        handle.remove()


@pytest.mark.parametrize(
    'attention, met',
    [
        (dict(space_time='causal'), [0, 1, 2]),
        (dict(space_time='causal', window=2), [1, 2]),
        (dict(space_time='block', block_steps=2), [2, 3]),
    ],
)
def test_frames_that_do_not_meet_are_nan(attention, met):
    backbone, clip = build(**attention), torch.randn(1, 3, 4, 48, 64)
    row, *_ = attention_row(backbone, lambda: backbone(clip), list(attention_reads(backbone))[-1], QUERY)
    assert [t for t in range(4) if row[t].isfinite().all()] == met
    assert row.isnan().any(dim=(1, 2)).sum() == 4 - len(met)


def test_a_memory_is_read_by_its_last_frame():
    memory, x = MemoryRead(16, num_heads=2).eval(), torch.randn(4, 1, 16, 3, 4)
    row, query, *_ = attention_row(memory, lambda: memory(x), 'read', QUERY)
    assert query == (0, 1, 3) and row.shape == (3, 3, 4) and row.isfinite().all()
    with pytest.raises(ValueError, match='read does not run on this input; a memory reads earlier frames'):
        attention_row(memory, lambda: memory(x[:1]), 'read', QUERY)


def test_wrong_arguments_are_named():
    backbone, clip = build(), torch.randn(1, 3, 4, 48, 64)
    layer = next(iter(attention_reads(backbone)))

    def run():
        backbone(clip)

    with pytest.raises(ValueError, match="layer='x'; choose one of"):
        attention_row(backbone, run, 'x', (0, 0, 0))
    with pytest.raises(ValueError, match='each from 0 to 1'):
        attention_row(backbone, run, layer, (4, 0, 0))
    with pytest.raises(ValueError, match='2 heads'):
        attention_row(backbone, run, layer, (0, 0, 0), 2)
    with pytest.raises(ValueError, match='Linear has no spiking attention'):
        attention_reads(torch.nn.Linear(2, 2))
