"""Lists of a user's own data: draws, folders, masks."""

import cv2
import numpy as np
import pytest

from mmsvf.datasets.own_lists import count_classes, draw_split, find_masks, find_videos, look_at


def put_pictures(pictures, masks, count):
    """Discs that move over noise: class 1 on class 0, with a void border."""
    for folder in (pictures, masks):
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 90, (72, 108, 3), dtype=np.uint8)
    for i in range(count):
        picture, mask = noise.copy(), np.zeros((72, 108), np.uint8)
        cv2.circle(picture, (20 + 8 * i, 36), 16, (60, 200, 240), -1)
        cv2.circle(mask, (20 + 8 * i, 36), 16, 1, -1)
        mask[:2] = 255
        cv2.imwrite(str(pictures / f'{i:05d}.jpg'), picture)
        cv2.imwrite(str(masks / f'{i:05d}.png'), mask)


def test_a_draw_is_stratified_and_keeps_recordings_together():
    items = {kind: [f'{kind}/g{g}_c{c}.avi' for g in range(5) for c in range(4)] for kind in 'ab'}
    val = draw_split(items, 0.2, 0)
    assert [sum(name in val for name in names) for names in items.values()] == [4, 4]
    assert val == draw_split(items, 0.2, 0) != draw_split(items, 0.2, 1)
    val = draw_split(items, 0.2, 0, r'g(\d+)')
    drawn = {name.split('_')[0][-1] for name in val}
    assert len(drawn) == 1 and len(val) == 8, 'a recording is on one side, whatever its class'
    assert draw_split({'a': ['x'], 'b': ['y', 'z']}, 0.2, 0) < {'y', 'z'}, 'none is left without training'
    assert draw_split(items, 0, 0) == set()
    with pytest.raises(ValueError, match='a share of 1 for validation; 0 to below 1'):
        draw_split(items, 1, 0)
    with pytest.raises(ValueError, match=r"--group 'p.*' matches nothing in 'a/g0_c0\.avi'"):
        draw_split(items, 0.2, 0, r'p(\d)')


def test_folders_of_another_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match='has no videos; FOLDER/CLASS/VIDEO expected'):
        find_videos(tmp_path)
    (tmp_path / 'a.mp4').touch()
    with pytest.raises(ValueError, match=r'a\.mp4 is in no folder of a class'):
        find_videos(tmp_path)
    with pytest.raises(FileNotFoundError, match='has no pictures: clips are FOLDER/data/VIDEO/origin'):
        find_masks(tmp_path)


def test_masks_that_do_not_fit(tmp_path):
    put_pictures(tmp_path / 'images', tmp_path / 'masks', 3)
    labels, wrong = look_at([pair for pairs in find_masks(tmp_path).values() for pair in pairs], lambda: None)
    assert set(labels) == {0, 1, 255} and not wrong and sum(labels.values()) == 3 * 72 * 108
    cv2.imwrite(str(tmp_path / 'masks/00000.png'), np.zeros((36, 54), np.uint8))
    cv2.imwrite(str(tmp_path / 'masks/00001.png'), np.zeros((72, 108, 3), np.uint8))
    _, wrong = look_at([pair for pairs in find_masks(tmp_path).values() for pair in pairs], lambda: None)
    assert 'masks/00000.png' in wrong[0] and '72 x 108 pixels expected' in wrong[0]
    assert 'masks/00001.png' in wrong[1] and "mode 'RGB'" in wrong[1]
    (tmp_path / 'masks/00002.png').unlink()
    with pytest.raises(FileNotFoundError, match='differ by 1 names, such as 00002; each picture has a mask'):
        find_masks(tmp_path)
    assert count_classes({0: 5, 2: 5, 255: 5}) == 3 and count_classes({0: 5, 2: 5}, zero_is_void=True) == 2
    with pytest.raises(ValueError, match=r'labels \[0, 255\], of which 255 is void: 1 class.*where 255 is an object'):
        count_classes({0: 5, 255: 5})
