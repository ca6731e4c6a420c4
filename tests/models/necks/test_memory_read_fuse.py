"""Options of the memory, for each scale."""

import pytest
import torch

from mmsvf.models.necks.memory_read_fuse import MemoryReadFuse
from mmsvf.spiking.attention import AttentionRead


def reads(**options):
    return [m for m in MemoryReadFuse([16, 32], 4, **options).modules() if isinstance(m, AttentionRead)]


def test_options_reach_every_read():
    assert [read.scale for read in reads(norm=False, scale='head', v_threshold=0.5)] == [1 / 8, 1 / 16]
    assert all(read.norm is None and read.lif.v_threshold == 0.5 for read in reads(norm=False, v_threshold=0.5))
    assert [read.reference_tokens for read in reads(reference_size=[(4, 8, 6), [4, 4, 3]])] == [3 * 48, 3 * 12]


def test_without_reading_it_is_the_last_frame():
    clip = torch.randn(2, 16, 3, 4, 4)
    assert torch.equal(
        MemoryReadFuse([16], read=False, norm=False, reference_size=[(3, 4, 4)])([clip])[0], clip[:, :, -1]
    )


@pytest.mark.parametrize('options, message', [
    (dict(score='haming'), r"score='haming'.*\['dot', 'hamming'\]"),
    (dict(scal=1.0), r"MemoryReadFuse has no option 'scal'; did you mean 'scale'"),
    (dict(reference_size=(4, 8)), r'one \(T, H, W\) per scale'),
    (dict(reference_size=[(4, 8, 8)]), r'reference_size=\[\(4, 8, 8\)\] for in_channels=\[16, 32\]'),
])  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        reads(**options)


@pytest.mark.parametrize('read', [True, False])
@pytest.mark.parametrize('shape', [(0, 8, 3, 4, 4), (2, 8, 0, 4, 4)])
def test_empty_input(shape, read):
    with pytest.raises(ValueError, match='MemoryReadFuse got an empty input'):
        MemoryReadFuse([8], read=read)([torch.zeros(shape)])
