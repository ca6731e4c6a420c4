"""docs/own_data.md: its blocks run as they stand, in a folder of a user's; and the scripts that write lists."""

import json
import os
import re
import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmsvf.datasets.mmhpsd_layouts import LayoutB, open_layout
from mmsvf.engine.run_config import check_classes

from ..broken_videos import write_video
from ..conftest import REAL, ROOT
from ..datasets.test_own_lists import put_pictures
from . import forked

PAGE = (ROOT / 'docs' / 'own_data.md').read_text()
BLOCKS = re.findall(r'^```(bash|python)\n(.+?)^```$', PAGE, re.M | re.S)
CONFIGS = {text.split()[1]: text for kind, text in BLOCKS if kind == 'python'}
CLIPS = {'jump': ('people.mp4', 'test.avi'), 'play tennis': ('posetrack.mp4', 'part_0.mp4')}


def put_clips(folder):
    """Real clips where they are, else generated ones, and a file that is none."""
    for kind, names in CLIPS.items():
        (folder / kind).mkdir(parents=True)
        for name in names:
            target = folder / kind / name
            shutil.copy(REAL / name, target) if REAL.is_dir() else write_video(target.with_suffix('.mp4'), 12)
    (folder / 'jump' / 'broken.mp4').touch()


def put_people(folder, recordings):
    """Videos of the embedded figure with an .npz each."""
    folder.mkdir()
    layout = open_layout(recordings)
    actions = sorted(path.name for path in (recordings / layout.annotations).iterdir())[:2]
    for action in actions:
        writer = cv2.VideoWriter(str(folder / f'{action[:9]}.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 15, (256, 256))
        frames = layout.indices(action)
        frames += frames[-2::-1]  # there and back, for clips of 2 seconds
        poses = [layout.pose(action, i) for i in frames]
        for i in frames:
            writer.write(cv2.imread(str(layout.frame(action, i))))
        writer.release()
        np.savez(folder / f'{action[:9]}.npz', **{name: np.stack([pose[name] for pose in poses]) for name in poses[0]})


def run(blocks, folder):
    """What the commands of blocks print, by command."""
    scratch = folder / 'scratch'
    scratch.mkdir(exist_ok=True)
    (scratch / 'blocks.json').write_text(json.dumps(blocks))
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    script = ROOT / 'tests' / 'tools' / 'in_a_row.py'
    code, _, err = forked.run(script, ['scratch/blocks.json', 'scratch/printed.json'], folder, env, scratch)
    assert code == 0, err[-4000:]
    return json.loads((scratch / 'printed.json').read_text())


@pytest.fixture(scope='module')
def walked(tmp_path_factory, recordings):
    """The page from its first block to its last, and what each command printed."""
    folder = tmp_path_factory.mktemp('mine')
    for name in ('tools', 'configs', 'checkpoints'):
        (folder / name).symlink_to(ROOT / name)
    put_clips(folder / 'clips')
    put_pictures(folder / 'pictures' / 'images', folder / 'pictures' / 'masks', 5)
    for name in ('a', 'b'):
        put_pictures(folder / f'scenes/data/{name}/origin', folder / f'scenes/data/{name}/mask', 5)
    put_people(folder / 'people', recordings['a'])
    printed = run(BLOCKS, folder)
    assert not [text for text in printed.values() if 'ended:' in text]
    return folder, printed


def said(walked, beginning):
    return next(text for command, text in walked[1].items() if command.startswith(f'python {beginning}'))


def test_the_page_leads_from_a_folder_to_predictions(walked):
    folder, _ = walked
    text = said(walked, 'tools/dataset_converters/make_video_list.py')
    assert 'left out: jump/broken.mp4 (ValueError: it is empty)' in text
    assert re.search(r"2 names have spaces, such as 'play tennis/\S+': .*rename the folders", text)
    assert (folder / 'clips/classes.txt').read_text() == 'jump\nplay tennis\n'
    lists = [(folder / f'clips/{name}.txt').read_text().splitlines() for name in ('train', 'val')]
    assert [sorted(line.split()[-1] for line in lines) for lines in lists] == [['0', '1']] * 2
    assert re.search(r'acc/top1: ', said(walked, 'tools/test.py my_actions.py'))
    text = run([('bash', 'python tools/test.py my_actions.py checkpoints/svf_moving_digits-1475b0c1.pth')], folder)
    assert 'of a model with other classes than this config (cls_head' in next(iter(text.values()))
    assert (folder / 'confusion.png').stat().st_size > 5000
    assert re.search(r'(jump|play tennis) \d', said(walked, 'tools/predict.py my_actions.py'))
    assert re.search(r'mIoU: ', said(walked, 'tools/test.py my_pictures.py'))
    (name,) = (folder / 'pictures/val.txt').read_text().split()
    assert cv2.imread(str(folder / f'maps/{name}.png'), cv2.IMREAD_UNCHANGED).shape == (72, 108)
    assert re.search(r'tensors loaded, \d+ new \(memory\.', said(walked, 'tools/train.py my_scenes_vss.py'))
    assert re.search(r'mIoU: ', said(walked, 'tools/test.py my_scenes_vss.py'))
    assert re.search(r'smpl/PA-MPJPE: ', said(walked, 'tools/test.py my_poses.py'))
    for task, count in dict(actions=2, pictures=1, scenes=2, poses=2).items():
        assert len(list((folder / 'seen' / task).rglob('*.mp4'))) >= count, task
    assert Path(said(walked, '-c').strip()).is_dir()


def test_the_models_of_the_paper_take_the_same_data(walked, monkeypatch):
    """The table at the page's end: the lines that change, and the data sets that these configs read."""
    import mmsvf  # noqa: F401
    from mmsvf.registry import DATASETS

    folder, _ = walked
    monkeypatch.chdir(folder)
    own = re.compile(r'resize = .*\nload, .*\ntrain, test = .*\n')
    clips = re.compile(r'frames = .*\ncolour = .*\ntrain = .*\ntest = .*\n')
    stage2 = CONFIGS['my_scenes_vss.py'].replace('[16, 32, 48, 64]', '[64, 128, 256, 640]')
    stage2 = stage2.replace('my_scenes.py', 'paper_my_scenes.py').replace('(-3, -2, -1)', '(-9, -6, -3)')
    edited = {
        'my_actions.py': CONFIGS['my_actions.py'].replace('demo/svf_moving_digits', 'svf_k400_small'),
        'my_pictures.py': own.sub(
            'train, test = _base_.train_pipeline, _base_.test_pipeline\n',
            CONFIGS['my_pictures.py'].replace('demo/svf_moving_scenes', 'svf_cityscapes'),
        ),
        'my_scenes.py': own.sub(
            'train, test = _base_.train_pipeline, _base_.test_pipeline\n',
            CONFIGS['my_scenes.py'].replace('demo/svf_moving_scenes', 'svf_vspw'),
        ),
        'my_scenes_vss.py': clips.sub('train, test = _base_.clip_train_pipeline, _base_.clip_test_pipeline\n', stage2),
        'my_poses.py': re.sub(
            'param_scheduler.*\n', '', CONFIGS['my_poses.py'].replace('demo/svf_moving_body', 'svf_mmhpsd_t8_small')
        ),
    }
    for name, text in edited.items():
        (folder / f'paper_{name}').write_text(text)
        cfg = Config.fromfile(folder / f'paper_{name}')
        check_classes(cfg, 'train_dataloader', 'val_dataloader', 'test_dataloader')
        with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
            for loader in (cfg.train_dataloader, cfg.val_dataloader):
                data = registry.build(loader.dataset)
                assert data[0]['inputs'].shape[-1] >= 200, name


def test_lists_are_not_overwritten(walked):
    folder, _ = walked
    before = (folder / 'clips/train.txt').read_text()
    command = 'python tools/dataset_converters/make_video_list.py clips --val 0.5 --seed 3'
    (folder / 'pictures/classes.txt').write_text('ground\nball\n')
    again = 'python tools/dataset_converters/make_mask_list.py pictures --force'
    refused, _, text = run([('bash', f'{command}\n{command} --out other\n{again}\n')], folder).values()
    assert re.search(r'train\.txt.*there already; --force writes anew', refused)
    assert (folder / 'clips/train.txt').read_text() == before
    assert (folder / 'other/val.txt').read_text().splitlines()
    assert re.search(r'1 +\d+\.\d+%  ball\n +255 +\d+\.\d+%  \(void\)', text)


def test_annotations_that_do_not_fit_are_named(walked, tmp_path):
    folder, _ = walked
    write = runpy.run_path(str(folder / 'tools' / 'dataset_converters' / 'make_pose_recordings.py'))['write_recording']
    video = sorted((folder / 'people').glob('*.mp4'))[0]
    shutil.copy(video, tmp_path / 'walk.mp4')
    with pytest.raises(FileNotFoundError, match=r'walk\.npz is missing'):
        write(str(tmp_path / 'walk.mp4'), 15, LayoutB(tmp_path / 'out'), 'subject03_group0_time0')
    arrays = dict(np.load(video.with_suffix('.npz')))
    every = {name: array[::3] for name, array in arrays.items()}
    for given, message in (
        (dict(every, frames=np.arange(len(arrays['pose']))[::3]), r'0\.200 s between poses; at least 15 a second'),
        (dict(arrays, shape=arrays['shape'][0]), r'shape has the shape \(10,\); \(47, 10\) expected'),
        (dict(arrays, frames=np.arange(47) + 1000), r'none of its frames is in'),
    ):
        np.savez(tmp_path / 'walk.npz', **given)
        with pytest.raises(ValueError, match=message):
            write(str(tmp_path / 'walk.mp4'), 15, LayoutB(tmp_path / 'out'), 'subject03_group0_time0')
