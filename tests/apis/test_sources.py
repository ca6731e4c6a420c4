"""Sources: every frame once, at its time, upright; what is none is named."""

import os
import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

import mmsvf  # noqa: F401
from mmsvf.apis import sources
from mmsvf.apis.find_sources import find_sources
from mmsvf.apis.sources import Camera, open_source
from mmsvf.visualization.video import write_video

from ..broken_videos import make

av = pytest.importorskip('av')


def grey_frames(count, height=48, width=80):
    return [np.full((height, width, 3), 10 * k, np.uint8) for k in range(count)]


def brightness(source):
    return [round(float(frame.image.mean()) / 10) for frame in source]


def turned(path):
    """Give an mp4 of OpenCV the flag that a phone held upright writes: to be shown turned by 90 degrees."""
    data = bytearray(path.read_bytes())
    at = data.rfind(b'tkhd') + 4 + 4 + 20 + 8 + 8  # version and flags, times, number and length; layer and volume
    data[at : at + 36] = struct.pack('>9i', 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_a_video_a_folder_an_array_and_an_iterator_are_the_same(tmp_path):
    frames = grey_frames(12)
    write_video(tmp_path / 'a.mp4', frames, 20)
    (tmp_path / 'b').mkdir()
    for k, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / 'b' / f'{k}.png'), frame)  # 10 comes after 9
    for given in (tmp_path / 'a.mp4', str(tmp_path / 'b'), frames, np.stack(frames), iter(frames)):
        source = open_source(given, 20)
        seen = list(source)
        assert [frame.index for frame in seen] == list(range(12))
        np.testing.assert_allclose([frame.time for frame in seen], np.arange(12) / 20, atol=1e-3)
        assert brightness(seen) == list(range(12))
        assert len({frame.path for frame in seen}) == 12
        assert source.length == (None if hasattr(given, '__next__') else 12) and source.fps == 20
    assert brightness(open_source(f[..., 0] for f in frames)) == list(range(12)), 'grey frames'
    (picture,) = open_source(frames[3])  # as cv2.imread gives it
    np.testing.assert_array_equal(picture.image, frames[3])


def test_rates_that_vary_and_turned_videos_are_as_a_player_shows_them(tmp_path):
    stamps = [0, 40, 80, 120, 620, 660, 1660]  # in ms
    with av.open(str(tmp_path / 'varied.mp4'), 'w') as file:
        stream = file.add_stream('libvpx-vp9', rate=1000)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 80, 48, 'yuv420p', Fraction(1, 1000)
        for frame, stamp in zip(grey_frames(7), stamps):
            picture = av.VideoFrame.from_ndarray(frame, format='bgr24')
            picture.pts, picture.time_base = stamp, stream.time_base
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    np.testing.assert_allclose(
        [f.time for f in open_source(tmp_path / 'varied.mp4')], np.array(stamps) / 1e3, atol=2e-3
    )
    path = make(tmp_path, 'whole')
    before = next(iter(open_source(path))).image
    turned(path)
    after = next(iter(open_source(path))).image
    np.testing.assert_allclose(after.astype(int), np.rot90(before, -1), atol=2)


def test_a_video_that_is_cut_off_gives_what_there_is_and_says_so(tmp_path):
    write_video(tmp_path / 'a.mp4', np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8), 10)
    data = (tmp_path / 'a.mp4').read_bytes()
    (tmp_path / 'a.mp4').write_bytes(data[: len(data) // 2])
    source = open_source(tmp_path / 'a.mp4')
    count = len(list(source))
    assert 0 < count < 40
    assert f'ends after {count} of 40 frames' in source.problem


def test_what_is_no_source_is_named(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'pipe.mp4')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'no.mp4').write_text('no video')
    (tmp_path / 'cut.mp4').write_bytes(b'\0\0\0\x18ftypisom')
    for name, message in (
        ('absent.mp4', r'absent\.mp4 is missing'),
        ('no.mp4', 'cannot be read as a video: it does not begin as MP4.*give a video'),
        ('cut.mp4', 'no frame of it can be decoded.*give a video'),
        ('pipe.mp4', 'could not be read .*not a file'),
        ('empty', r'has no pictures \(\.jpg'),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            list(open_source(tmp_path / name))
    with pytest.raises(ValueError, match=r'frame 1 is float64 \(4, 4, 3\); BGR frames'):
        list(open_source([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))]))
    for empty in (np.zeros((0, 4, 4, 3), np.uint8), [], iter(())):
        with pytest.raises(ValueError, match=r'frames has no frame; an array \(T, H, W, 3\)'):
            list(open_source(empty))
    with pytest.raises(ValueError, match=r'0\.5 is no source; .* an array \(T, H, W, 3\)'):
        open_source(0.5)
    with pytest.raises(OSError, match='camera 9 cannot be opened'):
        Camera(9)


@pytest.mark.parametrize('channels', [1, 4])
def test_a_picture_of_other_channels_is_no_grey_clip(channels):
    """As OpenCV reads one with an alpha channel."""
    with pytest.raises(ValueError, match=rf'frame 0 is uint8 \(8, 6, {channels}\); BGR'):
        list(open_source(np.zeros((8, 6, channels), np.uint8)))


def test_a_camera_ends_when_it_is_told(monkeypatch):
    class Capture:
        def __init__(self, number):
            self.number = number

        def isOpened(self):  # noqa: N802
            return True

        def get(self, key):
            return 30.0

        def read(self):
            return True, np.zeros((4, 4, 3), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(sources.cv2, 'VideoCapture', Capture)
    camera = open_source(0)
    seen = []
    for frame in camera:
        seen.append(frame.time)
        if len(seen) == 5:
            camera.stop()
    assert len(seen) == 5 and seen == sorted(seen)


def test_folders_patterns_and_lists_become_single_sources(tmp_path):
    for name in ('v/a.mp4', 'v/deep/a.avi', 'v/deep/a.mov', 'w/a.mp4', 'p/1.png', 'v/pictures/0.jpg', 'v/notes.doc'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    (tmp_path / 'list.txt').write_text('v/a.mp4\n\nw/a.mp4 3\n')

    def found(*patterns):
        given = [str(tmp_path / pattern) for pattern in patterns]
        return {name: str(path).replace(f'{tmp_path}/', '') for name, path in find_sources(given).items()}

    assert found('v') == {
        'a': 'v/a.mp4', 'deep/a': 'v/deep/a.avi', 'deep/a.mov': 'v/deep/a.mov', 'pictures': 'v/pictures'
    }  # fmt: skip
    assert found('p') == {'p': 'p'}
    assert found('*/a.mp4') == {'a': 'v/a.mp4', 'w/a': 'w/a.mp4'}
    assert found('list.txt') == {'a': 'v/a.mp4', 'w/a': 'w/a.mp4'}
    (tmp_path / 'v.txt').write_text('a.mp4 3\nabsent.mp4 7\n')  # mmaction2's layout: a folder beside its list
    assert found('v.txt') == {'a': 'v/a.mp4', 'absent': 'absent.mp4'}
    unreadable = []
    given = [str(tmp_path / name) for name in ('absent.mp4', 'v/a.mp4', '*.gif')]
    assert list(find_sources(given, unreadable=unreadable)) == ['a'] and len(unreadable) == 2
    assert list(find_sources(['a.txt', 'a.txt'], lambda _: True)) == ['a', f'{os.path.basename(os.getcwd())}/a']
    for name in ('v/sources.mp4', 'w/Sources.mp4'):
        (tmp_path / name).touch()
    assert found('v/sources.mp4', 'w/Sources.mp4') == {  # the list of what is done is sources.jsonl
        'v/sources': 'v/sources.mp4', 'w/Sources': 'w/Sources.mp4'
    }  # fmt: skip
    assert found('v/a.mp4', 'v/a.mp4') == {'a': 'v/a.mp4', 'v/a': 'v/a.mp4'}
    for name in ('*.gif', 'absent.mp4'):
        with pytest.raises(FileNotFoundError, match=r'\*\.gif|absent'):
            found(name)
    (tmp_path / 'none').mkdir()
    with pytest.raises(FileNotFoundError, match='neither videos nor pictures'):
        found('none')


def test_what_is_in_the_way_is_left_out(tmp_path, monkeypatch):
    for name in ('v/a.mp4', 'v/._a.mp4', 'v/seen/a.mp4', 'v/seen/a/000000.png', 'v/p/1.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    monkeypatch.chdir(tmp_path)
    assert list(find_sources(['v'], results='v/seen')) == ['a', 'p'], 'no results of the run before, no hidden files'
    assert list(find_sources(['v/seen'], results='v/seen')) == ['a', 'seen/a'], 'what is asked for is looked at'
    monkeypatch.chdir(tmp_path / 'v' / 'p')
    assert find_sources(['.']) == {'p': '.'} and find_sources(['../p/.']) == {'p': '../p'}
    (tmp_path / 'a.txt').write_text('b.txt\nb.txt\n')
    (tmp_path / 'b.txt').write_text('a.txt\na.txt\n')
    with pytest.raises(ValueError, match=r'a\.txt lists itself'):
        find_sources([str(tmp_path / 'a.txt')])
