"""Layouts and edge rules of VSPW and Cityscapes, and transforms that treat the frames of a clip alike."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.datasets.clip_segmentation import clip_indices, without_masks
from mmsvf.registry import DATASETS, TRANSFORMS

CLASSES = dict(classes=('a', 'b', 'c'))


@pytest.fixture(autouse=True)
def mmseg_scope():
    init_default_scope('mmseg')


def vspw(root, videos, size=(20, 30)):
    """Frames whose grey level is their index, masks of labels 0 (void) to 3."""
    for video, count in videos.items():
        for part in ('origin', 'mask'):
            (root / 'data' / video / part).mkdir(parents=True)
        for t in range(count):
            cv2.imwrite(str(root / 'data' / video / 'origin' / f'{t:08d}.jpg'), np.full((*size, 3), 10 * t, np.uint8))
            mask = np.arange(size[0] * size[1]).reshape(size) % 4
            cv2.imwrite(str(root / 'data' / video / 'mask' / f'{t:08d}.png'), mask.astype(np.uint8))
    (root / 'list.txt').write_text('\n'.join(videos) + '\n')
    return root


LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
META = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'reduce_zero_label', 'video_id', 'frame_id')
PACK = dict(type='PackSegInputs', meta_keys=META)


def build_vspw(root, transforms=LOAD, **kwargs):
    pipeline = [*transforms[:2], dict(type='LoadEarlierFrames'), *transforms[2:], PACK]
    settings = dict(type='VSPWDataset', data_root=str(root), ann_file='list.txt', metainfo=CLASSES, pipeline=pipeline)
    return DATASETS.build({**settings, **kwargs})


def clip_of(packed):
    """A sample's clip (T, C, H, W), oldest frame first."""
    return packed['inputs'].unflatten(0, (-1, 3)).flip(0)


def frames(packed):
    """Indices of the frames of a clip, from their grey level."""
    return [round(level / 10) for level in clip_of(packed).float().mean((1, 2, 3)).tolist()]


@pytest.mark.parametrize('target, expected', [
    (0, [0]), (1, [1]), (2, [2]), (3, [0, 1, 2, 3]), (4, [0, 2, 3, 4]), (5, [0, 2, 4, 5]), (6, [0, 2, 4, 6]),
    (7, [0, 3, 5, 7]), (8, [0, 3, 6, 8]), (9, [0, 3, 6, 9]), (12, [3, 6, 9, 12]),
])  # fmt: skip
def test_clips_near_the_start_of_a_video(target, expected):
    """Frames of a clip at the start of a video."""
    assert clip_indices(target, (-9, -6, -3)) == expected
    assert clip_indices(target, ()) == [target]


def test_vspw_tests_every_frame(tmp_path):
    dataset = build_vspw(vspw(tmp_path, {'v1': 12, 'v2': 5}), test_mode=True)
    assert len(dataset) == 17
    packed = dataset[10]
    assert frames(packed) == [1, 4, 7, 10] and packed['inputs'].shape == (12, 20, 30)
    sample = packed['data_samples']
    assert (sample.video_id, sample.frame_id) == ('v1', 10) and sample.img_path.endswith('v1/origin/00000010.jpg')
    assert sample.gt_sem_seg.data.unique().tolist() == [0, 1, 2, 255], 'label 0 is void'
    assert frames(dataset[1]) == [1] and dataset[1]['inputs'].shape == (3, 20, 30), 'the first frames stand alone'
    assert frames(dataset[16]) == [0, 2, 3, 4] and dataset[16]['data_samples'].video_id == 'v2'


def test_vspw_draws_a_frame_a_video_and_sometimes_reverses(tmp_path):
    dataset = build_vspw(vspw(tmp_path, {'v1': 12}))
    assert len(dataset) == 1
    clips = {tuple(frames(dataset[0])) for _ in range(60)}
    forward = {(0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11)}
    assert clips == forward | {tuple(11 - i for i in clip) for clip in forward}
    assert {tuple(frames(build_vspw(tmp_path, reverse_prob=0)[0])) for _ in range(30)} == forward


def test_a_video_shorter_than_the_offsets_follows_the_rule(tmp_path):
    dataset = build_vspw(vspw(tmp_path, {'v1': 6}), reverse_prob=0)
    assert frames(dataset[0]) == [0, 2, 4, 5]


def test_images_for_stage_one(tmp_path):
    dataset = build_vspw(vspw(tmp_path, {'v1': 4}), offsets=())
    seen = {tuple(frames(dataset[0])) for _ in range(60)}
    assert seen == {(0,), (1,), (2,), (3,)} and dataset[0]['inputs'].shape == (3, 20, 30)


def remove(root, name):
    (root / name).unlink()


def rewrite(root, mask):
    cv2.imwrite(str(root / 'data/v1/mask/00000011.png'), mask.astype(np.uint8))


@pytest.mark.parametrize('spoil, error, message', [
    (lambda r: remove(r, 'list.txt'), FileNotFoundError, r'list\.txt does not exist'),
    (lambda r: (r / 'list.txt').write_text('\n'), ValueError, r'list\.txt lists no video'),
    (lambda r: (r / 'list.txt').write_text('v9\n'), FileNotFoundError, r'v9 is missing; line 1 of .*list\.txt'),
    (lambda r: remove(r, 'data/v1/mask/00000003.png'), FileNotFoundError, r'v1 has 1 frames without a mask .*00000003'),
    (lambda r: rewrite(r, np.full((20, 30), 4)), ValueError, r'11\.png could not .*label 3 \+ 1, but there are 3 cl'),
    (lambda r: rewrite(r, np.ones((10, 15))), ValueError, r'11\.png could not .*10 x 15 pixels, its .* 20 x 30'),
])  # fmt: skip
def test_vspw_names_what_is_wrong(tmp_path, spoil, error, message):
    spoil(vspw(tmp_path, {'v1': 12}))
    with pytest.raises(error, match=message):
        build_vspw(tmp_path, test_mode=True)[11]


def test_offsets_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r'offsets=\(-3, 3\)'):
        build_vspw(vspw(tmp_path, {'v1': 12}), offsets=(-3, 3))


def cityscapes(root, numbers, labelled=19):
    """One sequence; grey level = frame number."""
    for folder in ('leftImg8bit/val/ulm', 'leftImg8bit_sequence/val/ulm', 'gtFine/val/ulm'):
        (root / folder).mkdir(parents=True)
    for t in numbers:
        image = np.full((16, 32, 3), 8 * t, np.uint8)
        cv2.imwrite(str(root / f'leftImg8bit_sequence/val/ulm/ulm_000001_{t:06d}_leftImg8bit.png'), image)
        if t == labelled:
            cv2.imwrite(str(root / f'leftImg8bit/val/ulm/ulm_000001_{t:06d}_leftImg8bit.png'), image)
            mask = np.arange(16 * 32).reshape(16, 32) % 19
            cv2.imwrite(
                str(root / f'gtFine/val/ulm/ulm_000001_{t:06d}_gtFine_labelTrainIds.png'), mask.astype(np.uint8)
            )
    return root


def build_cityscapes(root, **kwargs):
    pipeline = [*LOAD, dict(type='LoadEarlierFrames'), PACK]
    prefix = dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')
    settings = dict(type='CityscapesClipDataset', data_root=str(root), data_prefix=prefix, pipeline=pipeline)
    return DATASETS.build({**settings, 'sequence_path': 'leftImg8bit_sequence/val', **kwargs})


def numbers_of(packed):
    return [round(level / 8) for level in clip_of(packed).float().mean((1, 2, 3)).tolist()]


def test_cityscapes_clips(tmp_path):
    root = cityscapes(tmp_path, range(30))
    dataset = build_cityscapes(root, test_mode=True)
    assert len(dataset) == 1 and numbers_of(dataset[0]) == [10, 13, 16, 19]
    training = build_cityscapes(root)
    assert {tuple(numbers_of(training[0])) for _ in range(40)} == {(10, 13, 16, 19), (28, 25, 22, 19)}


def test_cityscapes_takes_the_other_side_in_training_and_fails_in_testing(tmp_path):
    root = cityscapes(tmp_path, range(10, 20))
    assert {tuple(numbers_of(build_cityscapes(root)[0])) for _ in range(20)} == {(10, 13, 16, 19)}
    (root / 'leftImg8bit_sequence/val/ulm/ulm_000001_000013_leftImg8bit.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'ulm_000001_000013_leftImg8bit\.png is missing.*leftImg8bit_sequence'):
        build_cityscapes(root, test_mode=True)[0]


def test_cityscapes_names_missing_files(tmp_path):
    root = cityscapes(tmp_path, range(30))
    (root / 'leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'000019_leftImg8bit\.png is missing; .* is its label'):
        build_cityscapes(root)
    with pytest.raises(FileNotFoundError, match=r'no \*_gtFine_labelTrainIds\.png under'):
        build_cityscapes(root, data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/test'))


RANDOM = [
    *LOAD,
    dict(type='RandomResize', scale=(60, 40), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(16, 16), cat_max_ratio=0.3),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ClipPhotoMetricDistortion'),
]


def test_all_frames_of_a_clip_see_the_same_draw(tmp_path):
    """Identical frames stay identical through random transforms, and draws differ between samples."""
    root = vspw(tmp_path, {'v1': 12})
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    for t in range(12):
        cv2.imwrite(str(root / 'data/v1/origin' / f'{t:08d}.jpg'), picture)
    dataset = build_vspw(root, RANDOM)
    drawn = [clip_of(dataset[0]) for _ in range(40)]
    for clip in drawn:
        assert clip.shape == (4, 3, 16, 16)
        for t in range(3):
            assert clip[t].equal(clip[3])
    assert not all(clip.equal(drawn[0]) for clip in drawn)


def test_the_mask_follows_the_labelled_frame(tmp_path):
    """A frame that shows its own mask: they agree after every draw."""
    root = vspw(tmp_path, {'v1': 12}, size=(40, 60))
    blocks = np.kron(np.arange(6).reshape(2, 3) % 3 + 1, np.ones((20, 20))).astype(np.uint8)
    for t in range(12):
        cv2.imwrite(str(root / 'data/v1/origin' / f'{t:08d}.jpg'), np.repeat(blocks[..., None] * 80, 3, 2))
        cv2.imwrite(str(root / 'data/v1/mask' / f'{t:08d}.png'), blocks)
    dataset = build_vspw(root, RANDOM[:-1])
    for _ in range(20):
        packed = dataset[0]
        shown = (packed['inputs'][0].float() / 80).round().long() - 1
        agree = (shown == packed['data_samples'].gt_sem_seg.data[0]).float().mean()
        assert agree > 0.8, 'bilinear borders apart'


def test_draws_of_one_clip_are_independent(tmp_path):
    """Scale and flip of a clip come from different random numbers."""
    steps = [
        *LOAD,
        dict(type='RandomResize', scale=(300, 200), ratio_range=(0.5, 2.0)),
        dict(type='RandomFlip', prob=0.5),
    ]
    dataset = build_vspw(vspw(tmp_path, {'v1': 4}), steps)
    dataset.pipeline.transforms[-1].meta_keys = ('img_shape', 'flip')
    draws = [dataset[0]['data_samples'] for _ in range(60)]
    widths = np.array([sample.img_shape[1] for sample in draws], float)
    flipped = np.array([sample.flip for sample in draws])
    assert abs(np.corrcoef(widths, flipped)[0, 1]) < 0.4 and 10 < flipped.sum() < 50


def test_masks_are_optional_in_testing_alone(tmp_path):
    """Videos without masks among others, also through transforms inside others."""
    root = vspw(tmp_path, {'v1': 4, 'v2': 4})
    for mask in (root / 'data/v2/mask').glob('*'):
        mask.unlink()
    flips = dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=1.0)], [LOAD[1]], [PACK]])
    assert without_masks([flips])[0]['transforms'] == [flips['transforms'][0], [PACK]]
    for pipeline in ([LOAD[0], dict(type='LoadEarlierFrames'), LOAD[1], PACK], [LOAD[0], flips]):
        dataset = build_vspw(root, pipeline=pipeline, test_mode=True)
        assert len(dataset) == 8
        with_mask, without = (sample if not isinstance(sample, list) else sample[0]
                              for sample in (dataset[3]['data_samples'], dataset[7]['data_samples']))  # fmt: skip
        assert 'gt_sem_seg' in with_mask and 'gt_sem_seg' not in without and without.video_id == 'v2'
    with pytest.raises(FileNotFoundError, match=r'v2/mask has no \*\.png'):
        build_vspw(root)


def test_classes_of_vspw(tmp_path):
    """The names of the data set's own list, in the order of its labels, unless the user has others."""
    dataset = build_vspw(vspw(tmp_path, {'v1': 4}), metainfo=None)
    classes = dataset.metainfo['classes']
    assert len(classes) == len(set(classes)) == 124 == len(dataset.metainfo['palette'])
    assert [classes[i - 1] for i in (1, 49, 61, 124)] == ['wall', 'car', 'person', 'train']


def test_a_picture_stands_alone_and_an_array_is_a_clip():
    load = TRANSFORMS.build(dict(type='LoadEarlierFrames'))
    picture = np.zeros((4, 6, 3), np.uint8)
    assert load(dict(img=picture, img_path='a.jpg'))['img'] is not None
    np.testing.assert_array_equal(load(dict(img=picture, img_path='a.jpg'))['img'], picture)
    clip = np.stack([np.full((4, 6, 3), t, np.uint8) for t in range(5)])
    results = load(dict(img=clip, img_path=None, img_shape=(5, 4), ori_shape=(5, 4)))
    assert results['img_shape'] == results['ori_shape'] == (4, 6)
    assert results['img'][0, 0].tolist() == [t for t in range(4, -1, -1) for _ in range(3)]
    with pytest.raises(ValueError, match=r"clip_paths ends with 'b\.jpg', not with the labelled frame 'a\.jpg'"):
        load(dict(img=picture, img_path='a.jpg', clip_paths=['b.jpg']))


def test_what_of_mmsegmentation_cannot_serve(tmp_path):
    """Masks stand where its data set does not look. Its colours want three channels; its cut-outs, too, and cover less
    where they reach over the border."""
    root = vspw(tmp_path, {'v1': 3})
    folders = dict(img_path='data', seg_map_path='data')
    stock = DATASETS.build(dict(type='BaseSegDataset', data_root=str(root), data_prefix=folders, pipeline=LOAD))
    assert len(stock) == 3, 'a sample a frame'
    with pytest.raises(FileNotFoundError, match=r'v1/origin/00000000\.png'):
        stock[0]
    clip, picture = (np.full((40, 60, channels), 100, np.uint8) for channels in (12, 3))
    colours = TRANSFORMS.build(dict(type='PhotoMetricDistortion'))
    with pytest.raises(cv2.error, match='scn'):
        [colours(dict(img=clip)) for _ in range(20)]  # each part is drawn every other time
    cut = TRANSFORMS.build(dict(type='RandomCutOut', prob=1, n_holes=1, cutout_ratio=(0.6, 0.6)))
    with pytest.raises(ValueError, match='broadcast'):
        cut(dict(img=clip.copy()))
    assert min((cut(dict(img=picture.copy()))['img'] == 0).mean() for _ in range(20)) < 0.3 < 0.6 * 0.6


@pytest.mark.parametrize('kind, strength', [('noise', 40.0), ('occlusion', 0.5)])
def test_degrade_the_last_frame_only(kind, strength):
    clip = np.concatenate([np.full((20, 30, 3), 10 * t, np.uint8) for t in (3, 2, 1, 0)], -1)
    results = dict(img=clip, img_path='v1/3.jpg')
    degrade = TRANSFORMS.build(dict(type='DegradeLastFrame', kind=kind, strength=strength, seed=1))
    first, second = degrade(dict(results)), degrade(dict(results))
    np.testing.assert_array_equal(first['img'][..., 3:], clip[..., 3:])
    np.testing.assert_array_equal(first['img'], second['img'])
    np.testing.assert_array_equal(degrade(dict(results, img=clip[..., :3]))['img'], first['img'][..., :3])
    changed = (first['img'] != clip).any(-1)
    assert changed.mean() > 0.8 if kind == 'noise' else changed.sum() == 10 * 15
    fresh = TRANSFORMS.build(dict(type='DegradeLastFrame', kind='noise', strength=strength))
    assert not np.array_equal(fresh(dict(results))['img'], fresh(dict(results))['img'])
    for wrong in (dict(kind='rain'), dict(kind='occlusion', strength=2)):
        with pytest.raises(ValueError, match=r'rain|strength'):
            TRANSFORMS.build(dict(type='DegradeLastFrame', **wrong))
