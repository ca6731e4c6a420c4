"""Clear errors for a user's mistakes, and former names."""

import pytest

from mmsvf.arguments import check_arguments, renamed
from mmsvf.datasets.event_transforms import BinEvents, LoadEventCounts
from mmsvf.models import MemoryReadFuse, SEWResNet, SpaceTimeTransformer, SpikeVideoFormer, Spikformer, STAtten
from mmsvf.spiking import SpikeAttention

TINY = dict(embed_dims=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1, 1))


@renamed(size='width')
def area(width, height=2):
    return width * height


def test_a_former_name_is_taken_with_a_warning():
    with pytest.warns(FutureWarning, match='size=3 is width=3 now'):
        assert area(size=3) == area(3) == 6
    with pytest.warns(FutureWarning):
        assert area(size=3, width=5) == 6, 'a config that sets the former name inherits the new one'
    with pytest.warns(FutureWarning, match='takes no size=; it replaces width=5'):
        area(size=3, width=5)
    check_arguments(area, ['size', 'height'], 'area')
    with pytest.raises(
        ValueError, match=r"area has no option 'widht'; did you mean 'width'\? choose from \['height', "
    ):
        check_arguments(area, ['widht'], 'area')


def test_wrong_options_of_a_backbone():
    """Those of its base are among the allowed ones, and not what it gives to the base itself."""
    with pytest.raises(
        ValueError, match=r"SpikeVideoFormer has no option 'achr'; did you mean 'arch'\? choose"
    ) as error:
        SpikeVideoFormer(achr='small')
    assert "'frozen_stages'" in str(error.value) and "'widths'" not in str(error.value)
    with pytest.raises(ValueError, match=r"SEWResNet has no option 'out_indexes'; did you mean 'out_indices'\?"):
        SEWResNet(out_indexes=(1,))
    with pytest.raises(ValueError, match=r"arch=3; a dict of options, of \['depths', 'embed_dims'\]"):
        SpikeVideoFormer(arch=3)
    with pytest.raises(ValueError, match=r"arch=\{'depths': \[1\]\}; it needs embed_dims, too"):
        SpikeVideoFormer(arch=dict(depths=[1]))


@pytest.mark.parametrize(
    'former, new',
    [
        (lambda: SpikeVideoFormer(TINY, heads=2), lambda: SpikeVideoFormer(TINY, num_heads=2)),
        (
            lambda: SpikeVideoFormer(TINY, attention=dict(heads=4, threshold=0.7)),
            lambda: SpikeVideoFormer(TINY, attention=dict(num_heads=4, v_threshold=0.7)),
        ),
        (
            lambda: STAtten(dict(depth=2, embed_dim=16), heads=2),
            lambda: STAtten(dict(depth=2, embed_dim=16), num_heads=2),
        ),
        (
            lambda: Spikformer(dict(depth=1, embed_dim=32, heads=4)),
            lambda: Spikformer(dict(depth=1, embed_dim=32, num_heads=4)),
        ),
        (
            lambda: MemoryReadFuse([8], heads=2, threshold=0.7),
            lambda: MemoryReadFuse([8], num_heads=2, v_threshold=0.7),
        ),
        (lambda: SpikeAttention(8, heads=2, threshold=0.7), lambda: SpikeAttention(8, num_heads=2, v_threshold=0.7)),
        (
            lambda: SpaceTimeTransformer(8, channels=12, layers=1, heads=2),
            lambda: SpaceTimeTransformer(8, channels=12, layers=1, num_heads=2),
        ),
    ],
)
def test_former_names_of_models(former, new):
    with pytest.warns(FutureWarning, match='now; the next release takes no'):
        model = former()
    assert repr(model) == repr(new())


@pytest.mark.parametrize('transform', [BinEvents, LoadEventCounts])
def test_former_names_of_transforms(transform):
    with pytest.warns(FutureWarning, match='steps=4 is time_steps=4 now'):
        assert transform(steps=4).time_steps == 4
