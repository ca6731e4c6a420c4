"""MMHPSD's two layouts, clips and turns, on recordings of the embedded figure."""

import os
import pickle
import shutil

import cv2
import joblib
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.body import MMHPSD_INTRINSICS, embedded_body, project
from mmsvf.datasets.events import bin_events
from mmsvf.datasets.mmhpsd import MMHPSDDataset
from mmsvf.files.pickles import UnpicklingError, load_joblib
from mmsvf.registry import DATASETS, TRANSFORMS

from ..conftest import FRAMES


def build(root, **kwargs):
    init_default_scope('mmpose')
    settings = dict(type='MMHPSDDataset', split='train', time_steps=4, durations=(0.8,), pipeline=[])
    return DATASETS.build({**settings, 'data_root': str(root), **kwargs})


def test_both_layouts_give_the_same_frames_and_poses(recordings):
    a, b = (build(recordings[k]) for k in 'ab')
    assert len(a) == len(b) > 10 and type(a.layout).__name__ == 'LayoutA' and type(b.layout).__name__ == 'LayoutB'
    for i in (0, len(a) - 1):
        x, y = a[i], b[i]
        assert x['frames'] == y['frames'] == list(range(x['frames'][0], x['frames'][0] + 12, 3))
        for name in ('img', 'pose', 'shape', 'translation', 'lifting_target', 'keypoints'):
            np.testing.assert_array_equal(x[name], y[name], err_msg=name)
        assert x['img'].shape == (4, 256, 256, 3) and x['lifting_target'].shape == (4, 24, 3)


def test_both_layouts_give_the_same_events(recordings, tmp_path):
    """By quarters; and layout B's raw events, where they are, in exact thirds."""
    quarters = shutil.copytree(recordings['b'], tmp_path / 'b')
    for folder in quarters.glob('mmhpsd_events/*/events'):
        shutil.rmtree(folder)
    a, b, raw = (build(r, modality='events') for r in (recordings['a'], quarters, recordings['b']))
    np.testing.assert_array_equal(a[3]['img'], b[3]['img'])
    assert set(np.unique(a[3]['img'])) == {0, 1}
    sample = raw[3]
    folder = recordings['b'] / 'mmhpsd_events' / sample['action'] / 'events'
    for k, end in enumerate(sample['frames']):
        parts = [np.load(folder / f'events_{i:04d}.npz') for i in range(end - 3, end)]
        x, y = (np.concatenate([p['xy'][:, j] for p in parts]) for j in range(2))
        t = np.concatenate([p['t'] for p in parts])
        np.testing.assert_array_equal(sample['img'][k], bin_events(x, y, t, 1)[0].transpose(1, 2, 0))


def test_a_missing_file_of_raw_events_is_named(recordings, tmp_path):
    """Quarters take the place of raw events where an action has none at all, never for one step."""
    root = shutil.copytree(recordings['b'], tmp_path / 'b')
    (root / 'mmhpsd_events' / 'subject03_group0_time0' / 'events' / 'events_0004.npz').unlink()
    with pytest.raises(FileNotFoundError, match=r'events_0004\.npz is missing .*move the folder of raw events away'):
        build(root, modality='events')[0]


def rewrite_times(root, change):
    """Replace t of every raw file by ``change(index, t)``."""
    for path in root.glob('mmhpsd_events/*/events/*.npz'):
        with np.load(path) as data:
            np.savez(path, xy=data['xy'], p=data['p'], t=change(int(path.stem[-4:]), data['t']))


def test_raw_events_whose_times_start_anew_in_each_file_fall_into_the_same_bins(recordings, tmp_path):
    """Up to a few at their edges, since an interval is as long as its latest event; other overlaps are an error."""
    going_on = build(recordings['b'], modality='events')[3]
    root = shutil.copytree(recordings['b'], tmp_path / 'b')
    rewrite_times(root, lambda index, t: t - round(index * 1e6 / 15))
    anew = build(root, modality='events')[3]
    assert (anew['img'] != going_on['img']).sum() < 0.01 * going_on['img'].sum()
    rewrite_times(root, lambda index, t: t + index * 50_000)
    with pytest.raises(ValueError, match=r'events_\d+\.npz has events from .*events_\d+\.npz before it from'):
        build(root, modality='events')[3]


def test_poses_of_events_are_at_the_end_of_their_interval(recordings):
    frames, events = (build(recordings['a'], modality=m)[0] for m in ('frames', 'events'))
    assert frames['frames'] == [0, 3, 6, 9] and events['frames'] == [3, 6, 9, 12]


def test_annotations_are_those_of_the_figure(recordings):
    sample = build(recordings['a'])[5]
    body = embedded_body()
    joints = body(*(torch.from_numpy(sample[k]) for k in ('pose', 'shape', 'translation'))).joints
    np.testing.assert_allclose(joints, sample['lifting_target'], atol=1e-5)
    pixels = project(joints, torch.tensor(MMHPSD_INTRINSICS))
    np.testing.assert_allclose(pixels, sample['keypoints'], atol=1e-3)


def test_clips(recordings):
    """Training starts at every T/8-th frame, tests do not overlap, durations are drawn from what fits."""
    test = build(recordings['a'], split='test')
    assert [test.get_data_info(i)['start'] for i in range(len(test))] == [0]
    train = build(recordings['a'], durations=(0.3, 0.8))
    assert {tuple(np.diff(train[0]['frames'])) for _ in range(30)} == {(1, 1, 1), (3, 3, 3)}
    assert {tuple(np.diff(train[18]['frames'])) for _ in range(10)} == {(1, 1, 1)}
    assert {info['action'].split('_')[0] for info in map(train.get_data_info, range(len(train)))} == {'subject03'}


def test_clips_do_not_reach_over_gaps_and_group_4_is_left_out(recordings, tmp_path):
    root = shutil.copytree(recordings['a'], tmp_path / 'a')
    info = root / 'pose_events' / 'subject03_group0_time0' / 'pose_info.pkl'
    joblib.dump([i for i in range(FRAMES) if i != 10], info)
    shutil.move(root / 'pose_events' / 'subject03_group1_time1', root / 'pose_events' / 'subject03_group4_time1')
    dataset = build(root, durations=(0.3,))
    for i in range(len(dataset)):
        sample = dataset.get_data_info(i)
        assert sample['action'] == 'subject03_group0_time0'
        assert 10 not in range(sample['start'], sample['start'] + 5)


def test_turning_keeps_everything_consistent(recordings):
    """Re-projected joints hit the turned pixels within 1e-3 px; the turned pose gives the turned joints."""
    init_default_scope('mmpose')
    rotate = TRANSFORMS.build(dict(type='RotateClip', degrees=20))
    original, sample = build(recordings['a'])[2], build(recordings['a'])[2]
    turned = rotate.rotate(sample, 17.0)
    pixels = project(
        torch.from_numpy(turned['lifting_target']).double(), torch.tensor(MMHPSD_INTRINSICS).double(), eps=0
    )
    # the annotated pixels have 1e-5 added to the depth, as in the authors' code
    assert np.abs(pixels.numpy() - turned['keypoints']).max() < 1e-2
    exact = project(
        torch.from_numpy(original['lifting_target']).double(), torch.tensor(MMHPSD_INTRINSICS).double(), eps=0
    )
    angle = np.deg2rad(17.0)
    r = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert np.abs((exact.numpy() - 128.2) @ r.T + 128.2 - pixels.numpy()).max() < 1e-3
    joints = embedded_body()(*(torch.from_numpy(turned[k]) for k in ('pose', 'shape', 'translation'))).joints
    np.testing.assert_allclose(joints, turned['lifting_target'], atol=1e-5)
    # the picture turns with them: what is around a joint stays around it
    t, joint = 1, 15
    before, after = (np.round(s['keypoints'][t, joint]).astype(int) for s in (original, turned))
    patch = [s['img'][t, y - 2 : y + 3, x - 2 : x + 3].mean() for s, (x, y) in ((original, before), (turned, after))]
    assert patch[0] == pytest.approx(patch[1], abs=12)


def test_events_stay_binary_when_turned_and_bad_intrinsics_are_named(recordings):
    init_default_scope('mmpose')
    sample = build(recordings['a'], modality='events')[0]
    turned = TRANSFORMS.build(dict(type='RotateClip', degrees=20)).rotate(sample, -12.0)
    assert set(np.unique(turned['img'])) == {0, 1}
    with pytest.raises(ValueError, match=r'fx = fy expected'):
        TRANSFORMS.build(dict(type='RotateClip', intrinsics=(1.0, 2.0, 3.0, 4.0)))


def test_packed_for_mmpose(recordings):
    dataset = build(recordings['a'], pipeline=[dict(type='PackPoseClip')])
    assert dataset.metainfo['num_keypoints'] == 24
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 4, 256, 256) and sample['inputs'].dtype == torch.uint8
    labels, truth = sample['data_samples'].gt_instance_labels, sample['data_samples'].gt_instances
    assert len(labels) == len(truth) == 4 and labels.joints_2d.max() < 1.2 and labels.pose.shape == (4, 24, 3)
    np.testing.assert_array_equal(truth.lifting_target, labels.joints_3d)
    assert sample['data_samples'].target_img_path[0] == 'subject03_group0_time0.0000.jpg'


def test_what_is_missing_is_what_the_modality_needs(tmp_path):
    """From frames nobody is asked for a folder named after events, unless frames are there without annotations."""
    for modality, named in (
        ('frames', 'full_pic_256/ .*mmhpsd_grayscale_img/'),
        ('events', 'events_256/ .*mmhpsd_events/'),
    ):
        with pytest.raises(FileNotFoundError, match=rf'has no {modality} of MMHPSD.*{named}') as error:
            build(tmp_path, modality=modality)
        assert modality == 'events' or '_events/' not in str(error.value)
    (tmp_path / 'full_pic_256').mkdir()
    with pytest.raises(
        FileNotFoundError, match=r'has frames in full_pic_256/, but not their annotations.*pose_events/'
    ):
        build(tmp_path)


class Bomb:
    def __reduce__(self):
        return os.system, ('touch exploded',)


def test_bad_files_are_named_and_run_nothing(recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = shutil.copytree(recordings['a'], tmp_path / 'a')
    pose = root / 'pose_events' / 'subject03_group0_time0' / 'pose0003.pkl'
    content = pose.read_bytes()
    for spoiled, message in ((Bomb(), 'refused to load'), (np.array([Bomb()], object), 'an array of Python objects')):
        joblib.dump(spoiled, pose)
        with pytest.raises(UnpicklingError, match=message):
            load_joblib(pose)
    pose.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnpicklingError, match=r'refused to load .*: the file asks for posix\.system'):
        load_joblib(pose)
    assert not (tmp_path / 'exploded').exists()
    pose.write_bytes(content[:300])
    with pytest.raises(
        ValueError, match=r'pose0003\.pkl could not be read .*truncated.*; if the file is broken, restore'
    ):
        build(root)[0]
    pose.unlink()
    with pytest.raises(FileNotFoundError, match=r'pose0003\.pkl'):
        build(root)[0]
    pose.write_bytes(content)
    joblib.dump((np.zeros((1, 9)), *load_joblib(pose)[1:]), pose)
    with pytest.raises(
        ValueError, match=r'pose0003\.pkl could not be read .*shape of shape \(1, 9\); \(10,\) expected'
    ):
        build(root)[0]
    pose.write_bytes(content)
    (root / 'full_pic_256' / 'subject03_group0_time0' / 'fullpic0003.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'fullpic0003\.jpg is missing'):
        build(root)[0]


def test_bad_options(recordings, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'has no frames of MMHPSD\. .*full_pic_256/ as EventHPE .*data_root=FOLDER'
    ):
        build(tmp_path)
    with pytest.raises(ValueError, match=r"modality='video'"):
        build(recordings['a'], modality='video')
    with pytest.raises(ValueError, match=r'no action of .* has 4 steps of 30 frames'):
        build(recordings['a'], durations=(8,))
    (tmp_path / 'pose_events' / 'subject01_group0_time0').mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r'no action of the train subjects'):
        build(tmp_path)


def test_frames_of_another_size_are_resized(recordings, tmp_path):
    root = shutil.copytree(recordings['a'], tmp_path / 'a')
    for path in (root / 'full_pic_256').rglob('*.jpg'):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (512, 512)))
    assert build(root)[0]['img'].shape == (4, 256, 256, 3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(durations=(-1,)), r'durations=\(-1,\); positive numbers of seconds'),
        (dict(durations=()), 'positive numbers of seconds'),
        (dict(durations=(float('nan'),)), 'positive numbers of seconds'),
        (dict(time_steps=0), 'time_steps=0; a whole number of time steps'),
        (dict(time_steps=2.5), r'time_steps=2\.5; a whole number of time steps'),
    ],
)
def test_clips_of_no_length(options, message, recordings):
    with pytest.raises(ValueError, match=message):
        MMHPSDDataset(data_root=str(recordings['a']), split='train', **options)
