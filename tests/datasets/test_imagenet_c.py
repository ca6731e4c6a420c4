import numpy as np
import pytest
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.datasets.imagenet_c import NAMES, SEVERITIES
from mmsvf.datasets.make_imagenet_c import corrupt
from mmsvf.registry import DATASETS


def layout(root, folders=('n01', 'n02'), images=2):
    for name in NAMES:
        for severity in SEVERITIES:
            for folder in folders:
                (root / name / str(severity) / folder).mkdir(parents=True)
                for i in range(images):
                    (root / name / str(severity) / folder / f'{i}.JPEG').touch()
    return root


def build(root, **kwargs):
    init_default_scope('mmpretrain')
    return DATASETS.build(dict(type='ImageNetC', data_root=str(root), pipeline=[], **kwargs))


def test_labels_by_order_of_the_folders(tmp_path):
    dataset = build(layout(tmp_path), metainfo=dict(classes=('cat', 'dog')))
    assert len(dataset) == 15 * 5 * 4
    assert {dataset.get_data_info(i)['gt_label'] for i in range(4)} == {0, 1}
    assert dataset.get_data_info(0)['img_path'].endswith('gaussian_noise/1/n01/0.JPEG')
    part = build(tmp_path, metainfo=dict(classes=('cat', 'dog')), corruptions=['fog'], severities=[3])
    assert len(part) == 4 and '/fog/3/' in part.get_data_info(0)['img_path']


def test_labels_of_a_part_of_the_classes_need_a_file(tmp_path):
    with pytest.raises(ValueError, match=r'2 class folders for 1000 classes.*labels\.txt'):
        build(layout(tmp_path))
    (tmp_path / 'labels.txt').write_text('n01 7\n')
    with pytest.raises(ValueError, match=r"no label for \['n02'\]"):
        build(tmp_path)
    (tmp_path / 'labels.txt').write_text('n01 7\nn02 999\n')
    assert {build(tmp_path).get_data_info(i)['gt_label'] for i in range(4)} == {7, 999}


def test_an_incomplete_set_is_refused(tmp_path):
    layout(tmp_path, images=1)
    (tmp_path / 'snow' / '2' / 'n01' / '0.JPEG').unlink()
    with pytest.raises(ValueError, match=r'snow/2 has 1 images, not the same as the 2'):
        build(tmp_path, metainfo=dict(classes=('cat', 'dog')))
    with pytest.raises(FileNotFoundError, match=r'lacks 75 of 75 folders.*--make-from'):
        build(tmp_path / 'nothing')


@pytest.mark.parametrize('name', NAMES)
def test_corruptions_are_deterministic_grow_and_leave_the_generator_alone(name):
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (64, 64, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    mild, same, strong = corrupt(image, name, 1, 7), corrupt(image, name, 1, 7), corrupt(image, name, 5, 7)
    np.testing.assert_array_equal(mild, same)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert mild.shape == image.shape and not np.array_equal(mild.astype(np.uint8), image)
    distance = [np.abs(x.astype(float) - image).mean() for x in (mild, strong)]
    assert distance[1] > distance[0]
