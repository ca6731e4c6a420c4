"""mmsegmentation's own interfaces and tools, as installed, on configs and checkpoints of ours: both stages."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image

import mmsvf  # noqa: F401
from tests.awake import awake
from tests.conftest import ROOT
from tests.tools.test_train_and_test import tool as our_tool

from .running import alone, framework_tool, run

CONFIGS = {1: 'configs/demo/svf_moving_scenes.py', 2: 'configs/demo/svf_moving_scenes_vss.py'}
FRAMES, VIDEOS = 8, ('val_000', 'val_001')
GAP, LARGE = 8, (360, 540 + 238, 3)  # between panels; a frame of 64 x 96 enlarged, and its legend


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Two videos with masks, listed in val.txt, and one without, listed in test.txt."""
    folder = tmp_path_factory.mktemp('scenes')
    sizes = '--train', '2', '--val', '3', '--frames', FRAMES, '--sequences', '2'
    our_tool('dataset_converters/moving_scenes', folder, *sizes)
    root = folder / 'vspw'
    (root / 'val.txt').write_text('\n'.join(VIDEOS))
    (root / 'test.txt').write_text('val_002')
    for mask in (root / 'data/val_002/mask').glob('*'):
        mask.unlink()
    return root


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Random weights of both stages that fire, in files as a training would write them."""
    folder, files = tmp_path_factory.mktemp('checkpoints'), {}
    torch.manual_seed(0)
    init_default_scope('mmseg')
    for stage, config in CONFIGS.items():
        cfg = Config.fromfile(ROOT / config)
        model = awake(MODELS.build(cfg.model), torch.randn(2, 3, *[4] * (stage == 2), 64, 96))
        files[stage] = str(folder / f'stage{stage}.pth')
        meta = dict(dataset_meta=dict(classes=cfg.classes, palette=cfg.palette))
        torch.save(dict(state_dict=model.state_dict(), meta=meta), files[stage])
    return files


def pictures(scenes):
    return [str(path) for path in sorted((scenes / 'data' / VIDEOS[0] / 'origin').glob('*.jpg'))]


def whole(pipeline):
    """A pipeline that leaves the last frame as it is, which the demo's second stage spoils."""
    return [step for step in pipeline if not step.type.endswith('DegradeLastFrame')]


def from_data_set(model, stage, scenes, frame):
    """Labels of a frame of the first video as its data set reads it."""
    dataset = Config.fromfile(ROOT / CONFIGS[stage]).test_dataloader.dataset
    settings = dict(dataset, data_root=str(scenes), pipeline=whole(dataset.pipeline))
    sample = DATASETS.build(settings)[frame]
    with torch.no_grad():
        (result,) = model.test_step({key: [value] for key, value in sample.items()})
    return result.pred_sem_seg.data[0].numpy()


@pytest.mark.parametrize('stage', [1, 2])
def test_inference_model(stage, scenes, checkpoints):
    """A picture is as the first frame of a video; a clip, as an array, as its last frame in the data set."""
    from mmseg.apis import inference_model, init_model

    config, files = Config.fromfile(ROOT / CONFIGS[stage]), pictures(scenes)
    config.test_pipeline = whole(config.test_pipeline)
    model = init_model(config, checkpoints[stage], device='cpu')
    assert model.dataset_meta['classes'][:2] == ('brick', 'grass')

    def labels(given):
        return inference_model(model, given).pred_sem_seg.data[0].numpy()

    first = from_data_set(model, stage, scenes, 0)
    assert first.shape == (64, 96) and len(np.unique(first)) > 2
    np.testing.assert_array_equal(labels(files[0]), first)
    np.testing.assert_array_equal(labels(cv2.imread(files[0])), first)
    assert len(inference_model(model, [cv2.imread(file) for file in files[:2]])) == 2
    if stage == 2:
        clip = np.stack([cv2.imread(file) for file in files[:4]])
        np.testing.assert_array_equal(labels(clip), from_data_set(model, stage, scenes, 3))
        assert (labels(clip) != labels(clip[-1])).any(), 'the earlier frames are seen'


@pytest.mark.parametrize('stage', [1, 2])
def test_inferencer(stage, scenes, checkpoints, tmp_path):
    """A folder of pictures in batches, with drawings; a clip is drawn on its last frame."""
    from mmseg.apis import MMSegInferencer

    inferencer = MMSegInferencer(str(ROOT / CONFIGS[stage]), checkpoints[stage], device='cpu')
    folder = str(Path(pictures(scenes)[0]).parent)
    found = inferencer(folder, batch_size=5, out_dir=str(tmp_path), show=False)['predictions']
    assert (
        len(found) == FRAMES == len(list((tmp_path / 'pred').glob('*.png'))) == len(list((tmp_path / 'vis').iterdir()))
    )
    if stage == 2:
        clip = np.stack([cv2.imread(file) for file in pictures(scenes)[:4]])
        result = inferencer(clip, return_vis=True)
        assert result['visualization'].shape == LARGE and result['predictions'].shape == (64, 96)
        plain = inferencer(clip, return_vis=True, with_labels=False)
        assert plain['visualization'].shape == (64, 96, 3)


def data(scenes, ann_file='val.txt'):
    own = [f'{part}_dataloader.dataset.data_root={scenes}' for part in ('test', 'val', 'train')]
    own[-1] = f'train_dataloader.dataset.dataset.data_root={scenes}'
    return ['--cfg-options', *own, f'test_dataloader.dataset.ann_file={ann_file}']


@pytest.mark.parametrize('stage', [1, 2])
def test_the_installed_test_tool(stage, scenes, checkpoints, tmp_path):
    """Metrics, label maps, pictures, videos, TensorBoard, with flips; stage 1 has mmsvf by ``custom_imports`` alone."""
    script = Path(find_spec('mmseg').origin).parent / '.mim' / 'tools' / 'test.py'
    shown = tmp_path / 'shown'
    arguments = [CONFIGS[stage], checkpoints[stage], '--tta', '--work-dir', tmp_path / 'work']
    arguments += ['--out', tmp_path / 'out', '--show-dir', shown, *data(scenes)]
    text = (alone if stage == 1 else run)(script, *arguments)
    assert 'mIoU: ' in text
    for video in VIDEOS:
        assert len(list((tmp_path / 'out' / video).glob('*.png'))) == FRAMES
        assert len(list((shown / 'vis_data' / 'vis_image').glob(f'test_{video}_*.png'))) == FRAMES
        mp4 = cv2.VideoCapture(str(shown / 'vis_data' / f'test_{video}.mp4'))
        assert int(mp4.get(cv2.CAP_PROP_FRAME_COUNT)) == FRAMES
    drawn = cv2.imread(str(shown / 'vis_data' / 'vis_image' / f'test_{VIDEOS[0]}_7.png'))
    assert drawn.shape == (360, LARGE[1] + GAP + 540, 3), 'the truth beside the prediction'
    (events,) = (shown / 'vis_data').glob('events.out.tfevents.*')
    assert events.stat().st_size > 2 * FRAMES * 1000, 'the pictures are there, too'


def tool(name, *arguments):
    """As ``python -m mmsvf`` runs it: with mmcv-lite these tools import what is not there unless mmsvf is first."""
    return framework_tool(f'mmseg::analysis_tools/{name}.py', *arguments)


def test_get_flops():
    text = tool('get_flops', CONFIGS[1], '--shape', 64, 96)
    assert 'Flops: 0.421G' in text and 'Params: 0.618M' in text


def test_browse_dataset_of_clips(scenes, tmp_path):
    """Labelled frames with their masks; it ends, though the data set repeats itself."""
    options = '--not-show', '--output-dir', tmp_path, *data(scenes), 'train_dataloader.dataset.times=1'
    text = tool('browse_dataset', CONFIGS[2], *options)
    assert '2/2' in text and '3/2' not in text
    assert cv2.imread(str(next(tmp_path.glob('*.jpg')))).shape == LARGE


def test_videos_without_masks(scenes, checkpoints, tmp_path):
    """Label maps and pictures of VSPW's test videos, or the user's own; drawing needs no training data."""
    command = 'test', CONFIGS[2], checkpoints[2], '--work-dir', tmp_path / 'work', '--out', tmp_path / 'out'
    options = data(scenes, 'test.txt')
    options[3] = 'train_dataloader.dataset.dataset.data_root=nowhere'
    our_tool(*command, '--show-dir', tmp_path / 'shown', *options, 'test_evaluator.format_only=True')
    maps = sorted((tmp_path / 'out' / 'val_002').glob('*.png'))
    assert len(maps) == FRAMES and np.unique(Image.open(maps[0])).min() >= 1, 'label 0 is void on disk'
    assert cv2.imread(str(tmp_path / 'shown/vis_data/vis_image/test_val_002_3.png')).shape == LARGE
