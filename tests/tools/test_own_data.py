"""docs/own_data.md: its blocks run as they stand, in a folder of a user's; and the scripts that write lists."""

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmsvf.datasets.mmhpsd_layouts import open_layout
from mmsvf.datasets.own_lists import count_classes, draw_split, find_masks, find_videos, look_at
from mmsvf.engine.run_config import check_classes

from ..broken_videos import write_video
from ..conftest import REAL, ROOT
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
    assert 'left out: jump/broken.mp4 (ValueError: the file is empty)' in text
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


def test_a_head_of_another_number_of_classes_is_said_before_training():
    cfg = Config(dict(model=dict(cls_head=dict(num_classes=400))))
    cfg.train_dataloader = dict(dataset=dict(dataset=dict(metainfo=dict(classes=['a', 'b']))))
    with pytest.raises(
        ValueError, match=r'2 classes are named in .*train_dataloader, .*cls_head\.num_classes=400; set'
    ):
        check_classes(cfg, 'train_dataloader')
