"""Nothing malformed becomes a sample: files of every reader are spoilt in some 600 ways, from one seed."""

import os
import re
import runpy
import shutil
import struct
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import joblib
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.apis.person import PersonChooser
from mmsvf.apis.pose_steps import steps_of
from mmsvf.apis.sources import open_source
from mmsvf.datasets.reading import PICTURES, UnreadableError, natural
from mmsvf.datasets.skip_unreadable import SkipUnreadable
from mmsvf.registry import DATASETS

from ..broken_videos import write_video
from ..conftest import ROOT
from .test_clip_segmentation import build_vspw, vspw
from .test_mmhpsd import build as build_mmhpsd
from .test_video_clips import PIPELINE

FLIPS = 12  # bytes changed, one at a time


@dataclass
class Reader:
    """A file, and what reads it; ``arrays`` of the result have to be of these shapes and types."""

    path: Path
    read: object

    def arrays(self):
        """Arrays of a sample by name; tensors become arrays."""
        sample = self.read()
        if 'data_samples' in sample:
            label = sample['data_samples']
            mask = label.gt_sem_seg.data if 'gt_sem_seg' in label else label.gt_label
            sample = dict(inputs=sample['inputs'], label=mask)
        return {
            name: np.asarray(value) for name, value in sample.items() if isinstance(value, (np.ndarray, torch.Tensor))
        }


def png_header(width, height):
    """A PNG of a few bytes that says it is large."""
    content = bytearray(cv2.imencode('.png', np.zeros((4, 4), np.uint8))[1].tobytes())
    content[16:24] = struct.pack('>II', width, height)
    content[29:33] = struct.pack('>I', zipfile.crc32(bytes(content[12:29])))
    return bytes(content)


@pytest.fixture(scope='module')
def readers(recordings, tmp_path_factory):
    """Good files of every kind, each with its reader."""
    root = tmp_path_factory.mktemp('good')
    action = 'subject03_group0_time0'
    for layout in 'ab':
        shutil.copytree(recordings[layout], root / layout)
    shutil.copytree(root / 'b', root / 'quarters')
    for folder in (root / 'quarters').glob('mmhpsd_events/*/events'):
        shutil.rmtree(folder)

    def mmhpsd(layout, modality):
        return lambda: build_mmhpsd(root / layout, modality=modality, serialize_data=False)[0]

    vspw(root / 'vspw', {'v1': 12}, size=(32, 48))
    init_default_scope('mmaction')
    rng = np.random.default_rng(0)
    x, y, t = rng.integers(0, 40, 400), rng.integers(0, 30, 400), np.sort(rng.integers(0, 10**6, 400))
    for name in ('events', 'counts'):
        np.savez(root / f'{name}.npz', x=x, y=y, t=t, p=x % 2)
    write_video(root / 'video.mp4', 16)
    for name in ('video.mp4', 'events.npz'):
        (root / f'{name}.txt').write_text(f'{name} 1\n')
    steps = {
        'events.npz': [
            dict(type='mmsvf.LoadEvents'),
            dict(type='mmsvf.BinEvents', time_steps=4, size=(30, 40)),
            *PIPELINE[-2:],
        ],
        'video.mp4': PIPELINE,
    }

    def video(name):
        init_default_scope('mmaction')
        options = dict(ann_file=str(root / f'{name}.txt'), data_prefix=dict(video=str(root)), num_classes=8)
        return DATASETS.build(dict(type='VideoClipDataset', pipeline=steps[name], serialize_data=False, **options))[0]

    def track():
        steps = steps_of(open_source(tracked, 10), 0.1, PersonChooser())
        return dict(pictures=np.stack([step.picture for step in steps]))

    def counts():
        load = dict(type='mmsvf.LoadEventCounts', time_steps=4, size=20, sensor=40)
        return Compose([load])(dict(img_path=str(root / 'counts.npz')))

    folder = root / 'imagenet_c' / 'fog' / '1' / 'n0'
    folder.mkdir(parents=True)
    (root / 'imagenet_c' / 'labels.txt').write_text('n0 7\n')
    cv2.imwrite(str(folder / 'a.jpeg'), cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (48, 32)))

    def imagenet_c():
        init_default_scope('mmpretrain')
        options = dict(data_root=str(root / 'imagenet_c'), corruptions=('fog',), severities=(1,))
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        return DATASETS.build(dict(type='mmsvf.ImageNetC', pipeline=pipeline, serialize_data=False, **options))[0]

    def frames():
        init_default_scope('mmseg')
        return build_vspw(root / 'vspw', test_mode=True, serialize_data=False)[11]

    tracked = root / 'tracked'
    tracked.mkdir()
    for k in range(8):
        cv2.imwrite(str(tracked / f'{k}.png'), np.full((64, 64), 10 * k, np.uint8))
    b, quarters = (root / name / 'mmhpsd_events' / action for name in ('b', 'quarters'))
    return dict(
        pose_a=Reader(root / 'a' / 'pose_events' / action / 'pose0003.pkl', mmhpsd('a', 'frames')),
        annotated=Reader(root / 'a' / 'pose_events' / action / 'pose_info.pkl', mmhpsd('a', 'frames')),
        frame=Reader(root / 'a' / 'full_pic_256' / action / 'fullpic0003.jpg', mmhpsd('a', 'frames')),
        event_picture=Reader(root / 'a' / 'events_256' / action / 'event0003.png', mmhpsd('a', 'events')),
        pose_b=Reader(b / 'poses' / 'pose_0003.npz', mmhpsd('b', 'frames')),
        packed=Reader(quarters / 'events_frame_04' / 'events_0003.npz', mmhpsd('quarters', 'events')),
        raw=Reader(b / 'events' / 'events_0003.npz', mmhpsd('b', 'events')),
        clip_frame=Reader(root / 'vspw/data/v1/origin/00000005.jpg', frames),
        clip_mask=Reader(root / 'vspw/data/v1/mask/00000011.png', frames),
        events=Reader(root / 'events.npz', lambda: video('events.npz')),
        counts=Reader(root / 'counts.npz', counts),
        imagenet_c=Reader(folder / 'a.jpeg', imagenet_c),
        tracked=Reader(tracked / '3.png', track),
        video=Reader(root / 'video.mp4', lambda: video('video.mp4')),
    )


def damages(name, readers, rng):
    """Spoilt contents of a reader's file, by what was done: bytes, or a function that puts something in its place."""
    good, path = readers[name].path.read_bytes(), readers[name].path
    for share in (0, 0.02, 0.3, 0.6, 0.97):
        yield 'cut', good[: int(share * len(good))]
    yield 'zeros', bytes(len(good))
    yield 'zeros', good[: len(good) // 2] + bytes(len(good) - len(good) // 2)
    yield 'noise', rng.bytes(len(good))
    yield 'other kind', b'<html>404 Not Found</html>'
    for other in ('pose_a', 'clip_mask', 'video', 'counts'):
        pictures = {readers[other].path.suffix, path.suffix} <= set(
            PICTURES
        )  # read by what they are, not by their names
        if readers[other].path.suffix != path.suffix and not pictures:
            yield 'other kind', readers[other].path.read_bytes()
    yield 'no file', path.mkdir
    yield 'no file', lambda: os.mkfifo(path)
    yield 'no file', lambda: path.symlink_to('/dev/zero')
    yield 'no file', lambda: path.symlink_to('/nowhere')
    if name != 'video':  # whose decoders crash, or need no end; see tools/analysis/check_videos.py
        yield 'cut', good[:-1]
        for at in (*rng.integers(0, 64, FLIPS // 2), *rng.integers(0, len(good), FLIPS // 2)):
            yield 'flip', good[:at] + bytes([good[at] ^ int(rng.integers(1, 256))]) + good[at + 1 :]


def put(reader, content):
    reader.path.unlink()
    content() if callable(content) else reader.path.write_bytes(content)


def restore(reader, good):
    shutil.rmtree(reader.path) if reader.path.is_dir() else reader.path.unlink()
    reader.path.write_bytes(good)


def refusal(reader):
    """The message of a read's error, which names the file and says what to do; None if a sample came."""
    try:
        reader.arrays()
    except UnreadableError as error:
        return str(error) if str(reader.path) in str(error) and '; ' in str(error) else f'not named: {error}'
    return None


def test_damaged_files_are_refused_by_name(readers):
    """A changed byte may go unseen where the format has no check sum for it; the sample is whole and finite then."""
    rng = np.random.default_rng(0)
    refused, unseen = Counter(), Counter()
    for name, reader in readers.items():
        good = reader.path.read_bytes()
        expected = {key: (value.shape, value.dtype) for key, value in reader.arrays().items()}
        assert expected
        for kind, content in list(damages(name, readers, rng)):
            put(reader, content)
            message = refusal(reader)
            if message is None and kind == 'flip':
                arrays = reader.arrays()
                assert {key: (value.shape, value.dtype) for key, value in arrays.items()} == expected, name
                assert all(np.isfinite(value).all() for value in arrays.values()), name
                unseen[name] += 1
            else:
                assert message is not None and not message.startswith('not named'), (name, kind, message)
                refused[kind] += 1
            restore(reader, good)
        assert refusal(reader) is None, 'the good file is read again'
    flips = refused.pop('flip')
    assert refused == {'cut': 83, 'zeros': 28, 'noise': 14, 'other kind': 56, 'no file': 56}
    assert flips + sum(unseen.values()) == FLIPS * (len(readers) - 1) and flips > 60
    assert not unseen.keys() & {'event_picture', 'clip_mask', 'tracked'}, 'every part of a PNG has a check sum'


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


def wrong_arrays(name, good):
    """Arrays of an .npz that are no data, by what is wrong: the good ones with a change."""
    wrong = {}
    for key, value in good.items():
        if key == ('t' if name == 'counts' else 'p'):
            continue  # not needed
        wrong[f'no {key}'] = without(good, key)
        wrong[f'{key}: text'] = {**good, key: np.full(value.shape, 'x')}
        wrong[f'{key}: complex'] = {**good, key: value.astype(complex)}
        wrong[f'{key}: shape'] = {**good, key: value[..., None, None].repeat(2, -1)}
        if key == 'events_frame':
            wrong |= {key: {key: np.append(value, value[:1])}, f'{key} less': {key: value[:-1]}}
            wrong['floats'] = {key: value.astype(np.float32)}
            continue
        for bad in (np.nan, np.inf, -np.inf):
            spoilt = value.astype(np.float64)
            spoilt.reshape(-1)[len(spoilt) // 2] = bad
            wrong[f'{key}: {bad}'] = {**good, key: spoilt}
    places = {key: good[key] for key in ('xy', 'x', 'y') if key in good}
    for key, value in places.items():
        for bad in (-1, 256, 2**40, 3.5):
            spoilt = value.astype(type(bad))
            spoilt.reshape(-1)[7] = bad
            wrong[f'{key}: {bad}'] = {**good, key: spoilt}
        wrong[f'{key}: bool'] = {**good, key: value > 9}
    if 'p' in good:
        wrong |= {'p: 2': {**good, 'p': good['p'] + 1}, 'p: few': {**good, 'p': good['p'][:-1]}}
    if 't' in good and name != 'counts':
        late = good['t'].astype(np.uint64)
        late[-1] = 2**63 + 5
        wrong['t: beyond int64'] = {**good, 't': late}
        wrong['t: far apart'] = {**good, 't': np.where(np.arange(len(late)) < 9, -(2**62), 2**62)}
    if name == 'raw':
        wrong |= {'t: backwards': {**good, 't': good['t'][::-1]}, 'xy: turned': {**good, 'xy': good['xy'].T}}
    if name == 'events':
        wrong['none'] = {key: value[:0] for key, value in good.items()}
    if name == 'counts':
        wrong['few'] = {key: value[:3] for key, value in good.items()}
    if name == 'pose_b':
        wrong |= {f'{key}: turned': {**good, key: good[key].T} for key in ('joints3d', 'joints2d')}
        wrong['beyond float32'] = {**good, 'trans': np.full((1, 3), 1e300)}
    return wrong


@pytest.mark.parametrize('name, count', [('pose_b', 38), ('packed', 7), ('raw', 25), ('events', 36), ('counts', 34)])
def test_arrays_that_are_no_data_are_refused(readers, name, count):
    reader = readers[name]
    content = reader.path.read_bytes()
    with np.load(reader.path) as data:
        good = dict(data)
    wrong = wrong_arrays(name, good)
    for what, arrays in wrong.items():
        np.savez(reader.path, **arrays)
        message = refusal(reader)
        assert message is not None and not message.startswith('not named'), (what, message)
    # an archive whose arrays are said to be of 4 GiB each
    reader.path.write_bytes(re.sub(rb'(?s)(PK\x01\x02.{20}).{4}', lambda m: m[1] + b'\xf0\xff\xff\xff', content))
    assert len(good) == 1 or 'bytes; up to' in refusal(reader)
    reader.path.write_bytes(content)
    assert refusal(reader) is None
    assert len(wrong) == count


def test_poses_in_pickles_that_are_no_poses_are_refused(readers):
    reader = readers['pose_a']
    content = reader.path.read_bytes()
    good = joblib.load(reader.path)
    wrong = [
        good[:4],
        dict(enumerate(good)),
        'text',
        None,
        (*good[:3], good[3].T, good[4]),
        (*good[:4], good[4][:, :1]),
    ]
    for i, value in enumerate(good):
        for bad in (np.nan, np.inf):
            spoilt = value.copy()
            spoilt.reshape(-1)[-1 if i < 4 else 0] = bad
            wrong.append((*good[:i], spoilt, *good[i + 1 :]))
        wrong.append((*good[:i], value[..., :-1], *good[i + 1 :])) if i < 4 else None
    for values in wrong:
        joblib.dump(values, reader.path)
        message = refusal(reader)
        assert message is not None and 'pose0003.pkl could not be read' in message, (values, message)
    reader.path.write_bytes(content)
    reader, numbers = readers['annotated'], list(range(24))
    content = reader.path.read_bytes()
    for values in (
        [0.5, *numbers],
        [*numbers, 3],
        [-1, *numbers],
        [],
        '0123',
        [numbers],
        {3: 4},
        None,
        [*numbers, 'x'],
    ):
        joblib.dump(values, reader.path)
        message = refusal(reader)
        assert message is not None and 'it lists the annotated frames' in message, (values, message)
    reader.path.write_bytes(content)
    assert len(wrong) == 20


def encode(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


def test_pictures_that_do_not_fit_are_refused(readers):
    """Of another size, kind or depth, and those whose header says that they would fill the memory."""
    rng = np.random.default_rng(0)
    events = rng.integers(0, 2, (256, 256, 4), np.uint8)
    labels = rng.integers(0, 4, (32, 48), np.uint8)
    wrong = [
        *(('event_picture', encode('.png', image)) for image in (
            events[..., :3], events[..., 0], events[:128, :128], events[:, :128], events.astype(np.uint16),
            3 * events + 1, rng.integers(0, 256, (256, 256, 4), np.uint8),
        )),
        ('event_picture', encode('.jpg', events[..., :3])),
        *(('frame', encode('.jpg', np.zeros(shape))) for shape in ((128, 128), (256, 512), (1280, 800), (1, 1))),
        *(('clip_frame', encode('.jpg', np.zeros(shape, np.uint8))) for shape in ((48, 32), (64, 96), (1, 1))),
        *(('clip_mask', encode('.png', image)) for image in (
            labels.astype(np.uint16), np.stack([labels] * 3, -1), np.stack([labels] * 4, -1), labels[:16], labels + 4,
            labels.T,
        )),
        *((name, png_header(60_000, 60_000)) for name in (
            'event_picture', 'frame', 'clip_frame', 'clip_mask', 'imagenet_c', 'tracked',
        )),
        *((name, png_header(9_000, 9_000)) for name in ('event_picture', 'frame', 'clip_frame', 'clip_mask')),
    ]  # fmt: skip
    for name, content in wrong:
        reader = readers[name]
        good = reader.path.read_bytes()
        reader.path.write_bytes(content)
        message = refusal(reader)
        reader.path.write_bytes(good)
        if name == 'clip_frame' and message is not None and 'not named' in message:
            assert 'have sizes' in message  # of the clip, named by its labelled frame
            continue
        assert message is not None and not message.startswith('not named'), (name, content[:40], message)
    assert len(wrong) == 31 and all(refusal(reader) is None for reader in readers.values())


def test_a_broken_file_of_several_clips_is_listed_once_by_its_own_path(readers, tmp_path):
    reader = readers['pose_a']
    good = reader.path.read_bytes()
    reader.path.write_bytes(b'')
    clips = build_mmhpsd(reader.path.parents[2], serialize_data=False)
    dataset = SkipUnreadable(clips, limit=1, report=tmp_path / 'unreadable.txt')
    for index in range(4):  # all of which have frame 3
        assert 3 not in dataset[index]['frames'] or dataset[index]['action'] != reader.path.parent.name
    assert [line.split('\t')[0] for line in (tmp_path / 'unreadable.txt').read_text().splitlines()] == [
        str(reader.path)
    ]
    reader.path.write_bytes(good)


def test_a_pipe_among_recordings_is_named(tmp_path):
    split = runpy.run_path(str(ROOT / 'tools' / 'dataset_converters' / 'cifar10_dvs.py'))['split']
    (tmp_path / 'bird').mkdir()
    for number in (10, 2, 1):
        (tmp_path / 'bird' / f'cifar10_bird_{number}.npz').touch()
    lines = split(tmp_path)
    assert [line.split('_')[-1] for line in lines['train.txt']] == ['1.npz 0\n', '2.npz 0\n', '10.npz 0\n']
    os.mkfifo(tmp_path / 'bird' / 'cifar10_bird_3.npz')
    with pytest.raises(ValueError, match=r'cifar10_bird_3\.npz is a folder, a pipe or a device'):
        split(tmp_path)


@pytest.mark.parametrize('text, message', [
    (b'a.mp4', r"line 1: 'a\.mp4'"), (b'a.mp4 1\n\nb.mp4', "line 3: 'b"), (b'a b.mp4 1 1', 'line 1.*multi_class'),
    (b'a.mp4 1 # good', 'line 1'), (b'# list\na.mp4 1', 'line 1'), (b'a.mp4 one', 'line 1'), (b'a.mp4 1.0', 'line 1'),
    (b'a.mp4 1_0', 'line 1'), (b'a.mp4\t1', 'line 1'), (b'a.mp4  1', 'line 1'), (b'a.mp4 0\nb.mp4 8', 'line 2: label'),
    (b'a.mp4 -1', 'line 1: label -1'), (b' 1', 'line 1'), (b'', 'lists no video'), (b'\r\n \r\n', 'lists no video'),
    ('a.mp4 1'.encode('utf-16'), 'UTF-8'), (b'\xff\xfe\x00\x81', 'UTF-8'),
])  # fmt: skip
def test_lists_of_videos_that_are_none(tmp_path, text, message):
    init_default_scope('mmaction')
    (tmp_path / 'list.txt').write_bytes(text)
    options = dict(ann_file=str(tmp_path / 'list.txt'), data_prefix=dict(video=str(tmp_path)), num_classes=8)
    with pytest.raises(ValueError, match=rf'list\.txt.*{message}'):
        DATASETS.build(dict(type='VideoClipDataset', pipeline=[], **options))


@pytest.mark.parametrize('text, options', [
    (b'\xef\xbb\xbfa.mp4 1\r\n\r\nb c.mp4 2\r\n'.replace(b' 1', b',1').replace(b' 2', b',2'), dict(delimiter=',')),
    (b'\na.mp4\t1\n   \nb c.mp4\t2', dict(delimiter='\t')),
    (b'a.mp4 1\nb c.mp4 2', {}),
])  # fmt: skip
def test_what_does_not_count_in_a_list(tmp_path, text, options):
    init_default_scope('mmaction')
    (tmp_path / 'list.txt').write_bytes(text)
    options |= dict(ann_file=str(tmp_path / 'list.txt'), data_prefix=dict(video=str(tmp_path)))
    dataset = DATASETS.build(dict(type='VideoClipDataset', pipeline=[], **options))
    found = [(Path(info['filename']).name, info['label']) for info in map(dataset.get_data_info, range(len(dataset)))]
    assert found == [('a.mp4', 1), ('b c.mp4', 2)]


def test_frames_go_by_their_numbers(tmp_path):
    """Names without leading zeros are in the order of time, too."""
    names = ['f10.png', 'f9.png', 'f1.png', 'f2b.png', 'f02.png', 'g1.png']
    assert sorted(names, key=natural) == ['f1.png', 'f02.png', 'f2b.png', 'f9.png', 'f10.png', 'g1.png']
    init_default_scope('mmseg')
    root = vspw(tmp_path, {'v 1': 12})
    for t in range(12):
        for folder, suffix in (('origin', 'jpg'), ('mask', 'png')):
            (root / f'data/v 1/{folder}/{t:08d}.{suffix}').rename(root / f'data/v 1/{folder}/{t}.{suffix}')
    (root / 'list.txt').write_bytes(b'\xef\xbb\xbfv 1\r\n\r\n')
    dataset = build_vspw(root, test_mode=True)
    assert dataset.get_data_info(0)['frames'] == [f'{t}.jpg' for t in range(12)]
    assert [Path(path).stem for path in dataset.sample(dataset.get_data_info(10))['clip_paths']] == [
        '1',
        '4',
        '7',
        '10',
    ]


def test_folders_of_frames_whose_order_or_pairs_cannot_be_told(tmp_path):
    init_default_scope('mmseg')
    root = vspw(tmp_path, {'v1': 12})
    origin, mask = root / 'data/v1/origin', root / 'data/v1/mask'
    for path, message in (
        (origin / '00000012.png', r'origin has 1 pictures that are not \*\.jpg, such as 00000012\.png'),
        (origin / '3.jpg', r'00000003\.jpg and 3\.jpg, whose order cannot be told'),
        (origin / '00000012.jpg', r'v1 has 1 frames without a mask .* such as 00000012'),
        (mask / '00000012.png', r'v1 has 1 frames without a mask or masks without a frame, such as 00000012'),
        (mask / '00000003.JPG', r'mask has 1 pictures that are not \*\.png'),
    ):
        path.write_bytes(b'')
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            build_vspw(root)
        path.unlink()
    (origin / '.hidden.jpg').touch()
    (origin / 'Thumbs.db').touch()
    assert len(build_vspw(root, test_mode=True)) == 12
    for path in (origin / '00000005.jpg', mask / '00000005.png'):
        path.unlink()
    assert len(build_vspw(root, test_mode=True)) == 11


@pytest.mark.parametrize('text', ['n0', 'n0 x', 'n0 1000', 'n0 -1', 'n0 1.5'])
def test_labels_of_imagenet_c_that_are_none(readers, text):
    path = readers['imagenet_c'].path.parents[3] / 'labels.txt'
    path.write_text(f'\n{text}\n')
    with pytest.raises(ValueError, match=rf"labels\.txt line 2: '{text}'; a folder and a label from 0 to 999"):
        readers['imagenet_c'].read()
    path.write_text('n0 7\n')
