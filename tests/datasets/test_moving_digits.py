"""The embedded default: what it writes, and that no single frame tells the label."""

import importlib.util

import cv2
import numpy as np
import pytest

from ..conftest import ROOT

spec = importlib.util.spec_from_file_location('moving_digits', ROOT / 'tools/dataset_converters/moving_digits.py')
moving_digits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(moving_digits)


def test_layout(digits):
    for split, count in (('train', 8), ('val', 4)):
        lines = (digits / f'{split}.txt').read_text().splitlines()
        assert lines == [f'{i:05d}.mp4 {i % 8}' for i in range(count)]
        for line in lines:
            video = cv2.VideoCapture(str(digits / split / line.split()[0]))
            assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10 and video.get(cv2.CAP_PROP_FRAME_WIDTH) == 64
    # the same random numbers give the same digit, and the list has its name
    images, names = moving_digits.load_digits(return_X_y=True)
    rng, photographs = (
        np.random.default_rng([0, 0]),
        [image[..., ::-1] for image in moving_digits.load_sample_images().images],
    )
    drawn = [
        moving_digits.moving_digit(rng, images[:898].reshape(-1, 8, 8), photographs, i, 10, 64)[1] for i in range(8)
    ]
    still = (digits / 'train_digit.txt').read_text().splitlines()
    assert still == [f'{i:05d}.mp4 {names[which]}' for i, which in enumerate(drawn)] and len(set(names[drawn])) > 2
    assert (digits / 'classes.txt').read_text().splitlines() == list(moving_digits.DIRECTIONS)


@pytest.mark.parametrize('label', range(8))
def test_the_label_is_the_direction_of_motion(label):
    """A digit moves by the direction's vector: frames shifted back by it coincide."""
    digit = np.zeros((1, 8, 8))
    digit[0, 2:6, 3:5] = 16
    black = [np.zeros((400, 400, 3), np.uint8)]
    clip, _ = moving_digits.moving_digit(np.random.default_rng(label), digit, black, label, 6, 64)
    angle = label * np.pi / 4
    shifts = [
        (x, y)
        for x in range(-18, 19)
        for y in range(-18, 19)
        if np.array_equal(np.roll(clip[0], (y, x), (0, 1)), clip[1]) and (x, y) != (0, 0)
    ]
    assert shifts and all(np.dot((x, y), (np.cos(angle), np.sin(angle))) > 0.9 * np.hypot(x, y) for x, y in shifts)


def test_frames_of_all_labels_are_drawn_alike():
    """Same random numbers, another label: the first frame is the same picture."""
    digits, photographs = np.random.rand(4, 8, 8) * 16, [np.full((400, 400, 3), 99, np.uint8)]  # noqa: NPY002
    first = [
        moving_digits.moving_digit(np.random.default_rng(7), digits, photographs, label, 3, 64)[0][0]
        for label in range(8)
    ]
    assert all(np.array_equal(first[0], frame) for frame in first)
