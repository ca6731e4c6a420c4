import pytest
from mmengine.registry import MODELS, DefaultScope, init_default_scope

import mmsvf  # noqa: F401  (what custom_imports does)


@pytest.fixture(autouse=True)
def scope_restored():
    before = DefaultScope.get_current_instance()
    yield
    if before is not None:
        init_default_scope(before.scope_name)


@pytest.mark.parametrize('scope', ['mmaction', 'mmseg', 'mmpose', 'mmdet', 'mmpretrain'])
@pytest.mark.parametrize('name', ['SpikeVideoFormer', 'mmsvf.SpikeVideoFormer'])
def test_builds_in_every_scope(scope, name):
    from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer

    init_default_scope(scope)
    assert isinstance(MODELS.build(dict(type=name, arch='small')), SpikeVideoFormer)


@pytest.mark.parametrize('name', ['SpikeClsHead', 'mmsvf.SpikeClsHead'])
def test_head_builds_under_mmaction(name):
    init_default_scope('mmaction')
    head = MODELS.build(dict(type=name, num_classes=3, in_channels=8))
    assert type(head).__name__ == 'SpikeClsHead' and head.average_clips == 'prob'


def test_our_registry_gives_the_class():
    from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
    from mmsvf.registry import MODELS as OURS

    assert OURS.get('SpikeVideoFormer') is OURS.get('mmsvf.SpikeVideoFormer') is SpikeVideoFormer
    with pytest.raises(KeyError, match='already registered'):
        OURS.register_module(name='SpikeVideoFormer')(type('SpikeVideoFormer', (), {}))
