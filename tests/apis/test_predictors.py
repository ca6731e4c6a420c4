"""Predictors say of the frames of a test set what a test says of it, whole or in windows, in constant memory."""

import gc
import weakref

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate

import mmsvf  # noqa: F401
from mmsvf.analysis.models import build_model, calibrate_batchnorm
from mmsvf.apis.action_predictor import ActionPredictor
from mmsvf.apis.pose_predictor import PosePredictor
from mmsvf.apis.predictor import Predictor
from mmsvf.apis.segmentation_predictor import SegmentationPredictor
from mmsvf.apis.sources import Frame
from mmsvf.datasets.reading import natural
from mmsvf.registry import DATASETS

from ..conftest import ROOT
from ..datasets.test_clip_segmentation import vspw

DIGITS, SCENES = 'configs/demo/svf_moving_digits.py', 'configs/demo/svf_moving_scenes.py'
CLIPS, BODY = 'configs/demo/svf_moving_scenes_vss.py', 'configs/demo/svf_moving_body.py'
CHECKPOINT = str(ROOT / 'checkpoints' / 'svf_moving_digits-1475b0c1.pth')


def config(name, *options):
    cfg = Config.fromfile(ROOT / name)
    cfg.merge_from_dict({k: DictAction._parse_iterable(v) for k, v in (option.split('=', 1) for option in options)})
    return cfg


def awake(name, path, *options):
    """A checkpoint of a config whose network, of random weights, spikes and says something else of each input."""
    cfg = config(name, *options)
    model, _ = build_model(cfg)
    clip = 'memory' in cfg.model or cfg.default_scope == 'mmpose'
    torch.manual_seed(0)
    calibrate_batchnorm(cfg, model, torch.randn(2, 3, *([4] * clip), 64, 64))
    for key, parameter in model.named_parameters():
        if key.startswith('head.pose'):
            torch.nn.init.normal_(parameter, std=0.2)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


def of_the_test(predictor, cfg):
    """What the loop of tools/test.py makes of each sample of the test set."""
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with torch.no_grad():
        return [predictor.model.test_step(pseudo_collate([dataset[i]]))[0] for i in range(len(dataset))]


@pytest.fixture(scope='module')
def actions(digits):
    cfg = config(DIGITS, f'test_dataloader.dataset.ann_file={digits / "val.txt"}')
    cfg.test_dataloader.dataset.data_prefix.video = str(digits / 'val')
    return cfg, Predictor.from_config(cfg, CHECKPOINT, classes=digits / 'classes.txt')


def test_by_events(actions, digits):
    """With the engine that skips silent neurons a video is what it is without."""
    cfg, predictor = actions
    sparse = Predictor.from_config(cfg, CHECKPOINT, classes=digits / 'classes.txt', engine='events')
    video = sorted((digits / 'val').glob('*.mp4'))[0]
    for _ in range(2):  # the first clip is measured
        record, other = (next(iter(each(video))) for each in (predictor, sparse))
        # a spike may flip where a membrane is within rounding of its threshold
        np.testing.assert_allclose(record.scores, other.scores, atol=0.05)
    assert sparse.model.engine_report()
    for wrong in (dict(engine='event'), dict(engine='events', fuse=False)):
        with pytest.raises(ValueError, match=r"an engine is one of \('dense', 'events'\), of a fused model"):
            Predictor.from_config(cfg, CHECKPOINT, **wrong)


@pytest.mark.parametrize('window', [10.0, 0.0])
def test_actions_of_a_video_are_those_of_the_test(actions, digits, window):
    cfg, predictor = actions
    assert type(predictor) is ActionPredictor
    predictor.window = window
    for video, sample in zip(sorted((digits / 'val').glob('*.mp4')), of_the_test(predictor, cfg), strict=True):
        records = list(predictor(video))
        assert [record.frame.index for record in records] == list(range(10))
        for record in records:
            np.testing.assert_allclose(record.scores, sample.pred_score.numpy(), atol=1e-6)
        assert record.top(1)[0][0] == predictor.classes[int(sample.pred_score.argmax())]


def test_actions_of_a_long_video_are_blended(actions, digits):
    """Two clips one after the other: each has its own scores where no window has both."""
    _, predictor = actions
    predictor.window = 10.0
    videos = sorted((digits / 'val').glob('*.mp4'))[:2]
    images = [frame.image for video in videos for frame in predictor.open(video)]
    alone = [next(iter(predictor(video, 12))).scores for video in videos]
    predictor.window, predictor.overlap = 10 / 12, 0.5
    records = list(predictor(iter(images), fps=12))
    assert len(records) == 20
    np.testing.assert_allclose(records[0].scores, alone[0], atol=1e-6)
    np.testing.assert_allclose(records[-1].scores, alone[1], atol=1e-6)
    assert all(record.scores.sum() == pytest.approx(1, abs=1e-4) for record in records)
    predictor.window = 0.0
    with pytest.raises(ValueError, match='frames is seen once: give a window'):
        list(predictor(iter(images)))


@pytest.mark.parametrize('name, batch_size', [(SCENES, 1), (SCENES, 4), (CLIPS, 1)])
def test_masks_of_frames_are_those_of_the_test(name, batch_size, tmp_path):
    """From a folder of pictures, and from an array of their pixels."""
    vspw(tmp_path / 'vspw', {'v1': 14}, size=(64, 96))
    cfg = config(name, f'test_dataloader.dataset.data_root={tmp_path / "vspw"}')
    lists = [path.name for path in (tmp_path / 'vspw').glob('*.txt')]
    cfg.test_dataloader.dataset.ann_file = lists[0]
    predictor = Predictor.from_config(cfg, awake(name, tmp_path / 'a.pth'), batch_size=batch_size)
    assert type(predictor) is SegmentationPredictor
    expected = [sample.pred_sem_seg.data[0].numpy() for sample in of_the_test(predictor, cfg)]
    assert len(np.unique(expected)) > 1, 'the network says something'
    folder = tmp_path / 'vspw' / 'data' / 'v1' / 'origin'
    records = list(predictor(folder))
    assert [record.frame.index for record in records] == list(range(14))
    for record, mask in zip(records, expected, strict=True):
        # in another batch sums are rounded otherwise, and a spike at the threshold may flip
        assert (record.mask != mask).mean() <= (0.002 if batch_size > 1 else 0)
    assert records[0].draw().shape == records[-1].draw().shape
    if name == SCENES:  # a spoilt frame is spoilt by its file's name
        images = [cv2.imread(str(path)) for path in sorted(folder.glob('*'), key=lambda path: natural(path.name))]
        for record, mask in zip(predictor(np.stack(images)), expected, strict=True):
            assert (record.mask != mask).mean() <= (0.002 if batch_size > 1 else 0)


def test_a_pose_of_an_action_is_that_of_the_test(recordings, tmp_path):
    cfg = config(BODY, f'test_dataloader.dataset.data_root={recordings["a"]}')
    cfg.test_dataloader.dataset.durations = [1]
    predictor = Predictor.from_config(cfg, awake(BODY, tmp_path / 'a.pth'), overlap=0.0001)
    assert type(predictor) is PosePredictor
    samples = [sample for sample in of_the_test(predictor, cfg) if sample.action == 'subject01_group0_time0']
    records = {record.frame.index: record for record in predictor('subject01_group0_time0')}
    said = samples[0].pred_instances
    for k, number in enumerate(samples[0].frames[:4]):  # of the first clip, what no later window blends into
        for name in ('joints_3d', 'translation', 'pose', 'shape', 'joints_2d'):
            expected = getattr(said, name)[k].detach().numpy()
            np.testing.assert_allclose(getattr(records[number], name), expected, atol=1e-3 if '2d' in name else 1e-5)


CAUSAL = ('model.backbone.attention.space_time=causal', 'model.backbone.attention.reference_size=(8,3,3)')


@pytest.fixture(scope='module')
def causal(actions, tmp_path_factory):
    """Of each task a causal config and a checkpoint, as arguments of a predictor."""
    folder = tmp_path_factory.mktemp('causal')
    cfg = Config(actions[0].to_dict())
    cfg.merge_from_dict({k: DictAction._parse_iterable(v) for k, v in (option.split('=') for option in CAUSAL)})
    found = dict(action=(cfg, CHECKPOINT))
    for task, name in dict(segmentation=CLIPS, pose=BODY).items():
        cfg = config(name, *CAUSAL)
        if task == 'segmentation':
            for loader in (cfg.val_dataloader, cfg.test_dataloader):  # what spoils frames is for clips
                steps = loader.dataset.pipeline
                loader.dataset.pipeline = [step for step in steps if 'Degrade' not in step['type']]
        found[task] = (cfg, awake(name, folder / f'{task}.pth', *CAUSAL))
    return found


def pictures(count, side=64):
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


@pytest.mark.parametrize('interval', [1, 3])
def test_causal_actions_are_those_of_the_clip_so_far(interval, causal, digits):
    """Of a video that is a clip, at its end what the test says; before, what it says of the first frames."""
    cfg, checkpoint = causal['action']
    cfg = Config(cfg.to_dict())
    sample, crops = cfg.test_dataloader.dataset.pipeline[1], [dict(type='ThreeCrop', crop_size=(40, 48))]
    sample.update(num_clips=1, frame_interval=interval)
    cfg.test_dataloader.dataset.pipeline[4:4] = crops
    stream, clips = (Predictor.from_config(cfg, checkpoint, fuse=False, windows=windows) for windows in (False, True))
    assert stream.frame_by_frame and not clips.frame_by_frame
    video = pictures(7 * interval + 1)
    records = list(stream(iter(video)))
    assert [record.frame.index for record in records] == list(range(len(video)))
    for frames in (1, 3, 8):
        sample['clip_len'] = frames
        clips = Predictor.from_config(cfg, checkpoint, fuse=False, windows=True)
        last = interval * (frames - 1)
        expected = next(iter(clips(video[: last + 1]))).scores
        assert expected.std() > 0.01
        for record in records[last : last + interval]:  # the frames between have the scores of the last one seen
            np.testing.assert_allclose(record.scores, expected, atol=1e-6)
    stream.window = 3 * interval / 25
    recent = list(stream(video))
    np.testing.assert_allclose(recent[2 * interval].scores, records[2 * interval].scores, atol=1e-6)
    assert abs(recent[-1].scores - records[-1].scores).max() > 1e-3
    stream.window = 0
    np.testing.assert_allclose(list(stream(iter(video)))[-1].scores, records[-1].scores, atol=1e-6)


def test_a_causal_pose_is_that_of_the_clip(causal):
    stream, clips = (Predictor.from_config(*causal['pose'], windows=windows, fuse=False) for windows in (False, True))
    for predictor in (stream, clips):
        predictor.model.backbone.double()  # where no spike depends on how many frames a convolution sees
    video = pictures(round(25 * 8 * stream.step))
    clips.window = 8  # one window is all there is
    found, expected = (list(predictor(video, 25)) for predictor in (stream, clips))
    assert len(found) == len(expected) == 8
    assert np.std([record.joints_3d for record in expected], 0).max() > 1e-3
    for one, other in zip(found, expected):
        for name in ('joints_3d', 'translation', 'pose', 'shape', 'joints_2d', 'last'):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5)


def test_causal_masks_have_the_memory_of_the_clip(causal):
    """At an interval of three frames three streams take turns; a stream's first clip is that of the test."""
    cfg, checkpoint = causal['segmentation']
    cfg = Config(cfg.to_dict())
    cfg.test_dataloader.dataset.offsets = (-6, -3)
    stream, clips = (Predictor.from_config(cfg, checkpoint, windows=windows) for windows in (False, True))
    found, expected = ([record.mask for record in predictor(pictures(10))] for predictor in (stream, clips))
    assert len(found) == 10
    for first in (6, 7, 8):
        assert (found[first] != expected[first]).mean() < 0.002 and len(np.unique(expected[first])) > 1
    assert (found[9] != expected[9]).any(), 'it has seen frame 0'


def test_why_a_model_sees_windows(actions, causal, monkeypatch):
    said = []
    monkeypatch.setattr('mmsvf.apis.predictor.print_log', lambda text, **_: said.append(text))
    cfg, checkpoint = causal['segmentation']
    for options, why in (
        (dict(offsets=(-3, -1)), r'offsets=(-3, -1) of the data set are no constant interval'),
        (dict(pipeline=config(CLIPS).test_dataloader.dataset.pipeline), 'the test pipeline spoils the last frame'),
    ):
        other = Config(cfg.to_dict())
        other.test_dataloader.dataset.update(options)
        assert not Predictor.from_config(other, checkpoint).frame_by_frame
        assert f'predicting in windows: {why}' in said[-1]
    Predictor.from_config(actions[0], CHECKPOINT)
    assert said[-1].startswith('predicting in windows: attention among the tokens of a clip reads')
    for task, options in dict(action=dict(overlap=0.2), segmentation=dict(batch_size=2), pose=dict(window=4)).items():
        with pytest.raises(ValueError, match=r'is of windows, and this model goes frame by frame: .*windows=True'):
            Predictor.from_config(*causal[task], **options)


@pytest.mark.parametrize(
    'task, short, stream',
    [
        *(('action', 30, False), ('segmentation', 8, False), ('pose', 110, False)),
        *(('action', 5, True), ('segmentation', 5, True), ('pose', 15, True)),
    ],
)
def test_memory_does_not_grow_with_the_length(task, short, stream, actions, causal, tmp_path, monkeypatch):
    """Frames that are alive at a time, of a video and of one that is three times as long."""
    if stream:
        predictor = Predictor.from_config(*causal[task])
        assert predictor.frame_by_frame
    elif task == 'action':
        predictor = actions[1]
        predictor.window, predictor.overlap = 0.4, 0.5
    else:
        name = CLIPS if task == 'segmentation' else BODY
        predictor = Predictor.from_config(config(name), awake(name, tmp_path / 'a.pth'))
    alive = weakref.WeakSet()
    made = Frame.__init__

    def counted(self, *args, **kwargs):
        made(self, *args, **kwargs)
        alive.add(self)

    monkeypatch.setattr(Frame, '__init__', counted)
    most = {}
    for length in (short, 3 * short):
        images = (np.full((64, 64, 3), k % 256, np.uint8) for k in range(length))
        numbers, found = [], 0
        for record in predictor(images, fps=25):
            numbers.append(record.frame.index)
            found = max(found, len(alive))
        most[length] = found
        assert numbers == sorted(set(numbers))
        assert len(numbers) == (length if task != 'pose' else predictor.expected(predictor.open([0] * length)))
        record = None
        gc.collect()
    assert most[3 * short] <= most[short] + 2 < short


def test_classes_have_names(actions, tmp_path):
    cfg, predictor = actions
    assert predictor.classes[:2] == ['east', 'south-east']
    nameless = Config(cfg.to_dict())
    nameless.test_dataloader.dataset.pop('metainfo')
    assert Predictor.from_config(nameless, CHECKPOINT).classes[3] == 'class 3'
    (tmp_path / 'few.txt').write_text('one\ntwo\n')
    with pytest.raises(ValueError, match='2 class names, but the head of the config has num_classes=8'):
        Predictor.from_config(cfg, CHECKPOINT, classes=tmp_path / 'few.txt')
    named = Config(cfg.to_dict() | dict(label_map=str(tmp_path / 'names.txt')))
    (tmp_path / 'names.txt').write_text('\n'.join('abcdefgh') + '\n')
    assert Predictor.from_config(named, CHECKPOINT).classes == list('abcdefgh')
    scenes = Predictor.from_config(config(SCENES), awake(SCENES, tmp_path / 'a.pth'))
    assert scenes.classes[3] == 'cat' and scenes.palette[3] == [240, 160, 40]


def test_what_is_wrong_is_named(actions, tmp_path):
    cfg, _ = actions
    with pytest.raises(ValueError, match='PosePredictor takes configs of mmpose, this one is of mmaction: use Action'):
        PosePredictor.from_config(cfg, CHECKPOINT)
    for device in 'cuda:99', 'none':
        with pytest.raises(ValueError, match=rf"device='{device}' is not there: .*; choose one of \['cpu'"):
            Predictor.from_config(cfg, CHECKPOINT, device)
    with pytest.raises(FileNotFoundError, match=r'absent\.pth'):
        Predictor.from_config(cfg, 'absent.pth')
    torch.save(dict(state_dict={'other.weight': torch.zeros(3)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='has no weight of the ClipRecognizer'):
        Predictor.from_config(cfg, str(tmp_path / 'other.pth'))
    weights = torch.load(CHECKPOINT, weights_only=False)['state_dict']
    backbone = {k: v for k, v in weights.items() if k.startswith('backbone.')}
    torch.save(dict(state_dict=backbone), tmp_path / 'backbone.pth')
    with pytest.raises(ValueError, match=r'backbone\.pth has no weights of the head \(cls_head\.fc\.bias'):
        Predictor.from_config(cfg, str(tmp_path / 'backbone.pth'))
    fewer = Config(cfg.to_dict())
    fewer.model.cls_head.num_classes = 5
    with pytest.raises(
        ValueError, match=r'is of a model with other classes than this config \(cls_head\.fc\.bias: \(8,\)'
    ):
        Predictor.from_config(fewer, CHECKPOINT)
    with pytest.raises(ValueError, match="default_scope='mmpretrain'"):
        Predictor.from_config(config('configs/svf_imagenet_t1.py'), CHECKPOINT)
    for options, message in ((dict(window=-1), r'window=-1'), (dict(overlap=1.0), r'overlap=1\.0')):
        with pytest.raises(ValueError, match=message):
            Predictor.from_config(cfg, CHECKPOINT, **options)
