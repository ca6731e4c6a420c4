"""mmaction2's own interfaces and tools, as installed, on a config and a checkpoint of ours."""

import json
import subprocess

import cv2
import mmengine
import numpy as np
import torch
from PIL import Image

from tests.conftest import ROOT
from tests.tools import forked

from .running import framework_tool, run

CONFIG, CHECKPOINT = 'configs/demo/svf_moving_digits.py', 'checkpoints/svf_moving_digits-1475b0c1.pth'


def tool(name, *arguments):
    return framework_tool(f'mmaction::{name}', *arguments)


def data(digits):
    return [
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={digits / "val.txt"}',
        f'test_dataloader.dataset.data_prefix.video={digits / "val"}',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]


def frames(path):
    video, found = cv2.VideoCapture(str(path)), []
    while True:
        whole, frame = video.read()
        if not whole:
            return found
        found.append(frame)


def test_inferencer(digits, tmp_path):
    """Labels of a batch, and every kind of drawing; the video has the source's frames in the source's colours."""
    script = tmp_path / 'script.py'
    script.write_text(f"""
import mmsvf
from mmaction.apis import MMAction2Inferencer
inferencer = MMAction2Inferencer({CONFIG!r}, {CHECKPOINT!r}, device='cpu')
videos = [f'{digits}/val/0000{{i}}.mp4' for i in range(4)]
scores = [[p['rec_scores'] for p in inferencer(videos, batch_size=size)['predictions']] for size in (3, 1)]
print('equal' if scores[0] == scores[1] else scores)
for kind in ('img', 'video', 'gif'):
    inferencer(videos[0], vid_out_dir={str(tmp_path)!r} + '/' + kind, out_type=kind)
""")
    assert 'equal' in run(script), 'batches of three and of one'
    source, drawn = frames(digits / 'val' / '00000.mp4'), frames(tmp_path / 'video' / '00000.mp4')
    assert len(drawn) == len(source) == 10
    below = [np.stack(f)[:, 24:].astype(float) for f in (source, drawn)]  # of the text
    assert np.abs(below[0] - below[1]).mean() < 6
    assert Image.open(tmp_path / 'gif' / '00000.gif').n_frames == 10
    assert len(list((tmp_path / 'img').rglob('*.png'))) == 10


def test_grad_cam(digits, tmp_path):
    out = tmp_path / 'cam.gif'
    video = digits / 'val' / '00001.mp4'
    layer = ['--device', 'cpu', '--target-layer-name', 'backbone/features/4']
    tool('visualizations/vis_cam.py', CONFIG, CHECKPOINT, video, *layer, '--out-filename', out)
    image = Image.open(out)
    assert image.n_frames == 32, 'four views of eight'
    maps = []
    for i in range(32):
        image.seek(i)
        maps.append(np.array(image.convert('RGB'), float))
    assert np.stack(maps).std(0).max() > 20, 'the map changes over time'


def test_confusion_matrix(digits, tmp_path):
    out = '--show-path', tmp_path / 'a.png'
    text = tool('analysis_tools/confusion_matrix.py', CONFIG, CHECKPOINT, *out, *data(digits))
    assert 'confusion matrix is saved' in text and cv2.imread(str(tmp_path / 'a.png')) is not None
    matrix = np.array(json.loads(text[text.index('tensor(') + 7 :].split(')')[0]))
    assert matrix.sum() == 4 and matrix.shape == (8, 8) and matrix.diagonal().sum() >= 2


def test_flips_are_averaged(digits, tmp_path):
    """The config of docs/predict.md, on the demo: ``--tta`` gives the mean of two tests, one of flipped videos."""
    text = (ROOT / 'docs' / 'predict.md').read_text().split('## Views and flips of a test')[1]
    config = text.split('```python\n')[1].split('```')[0].replace('mmsvf::svf_k400.py', str(ROOT / CONFIG))
    plain = 'test_dataloader = dict(dataset=dict(pipeline=[*_base_.test_pipeline[:-2], flips[{}], shape, pack]))\n'
    scores = []
    for name, content in (('both', config), ('0', config + plain.format(0)), ('1', config + plain.format(1))):
        (tmp_path / f'config_{name}.py').write_text(content)
        arguments = ['--work-dir', tmp_path, '--dump', tmp_path / f'{name}.pkl', *data(digits)]
        flag = ['--tta'] if name == 'both' else []
        run(ROOT / 'tools' / 'test.py', tmp_path / f'config_{name}.py', CHECKPOINT, *flag, *arguments)
        predictions = mmengine.load(tmp_path / f'{name}.pkl')
        scores.append(torch.stack([prediction['pred_score'] for prediction in predictions]))
    both, straight, flipped = scores
    torch.testing.assert_close(both, (straight + flipped) / 2)
    assert both.shape == (4, 8) and (straight - flipped).abs().max() > 0.5, 'another direction'


def test_browse_dataset(digits, tmp_path):
    phase = '--mode', 'transformed', '--phase', 'test'
    text = tool('visualizations/browse_dataset.py', CONFIG, tmp_path, *phase, *data(digits))
    assert '4/4' in text and len(frames(tmp_path / 'video_0.mp4')) == 32


def test_test_and_get_flops(digits, tmp_path):
    text = tool('test.py', CONFIG, CHECKPOINT, '--work-dir', tmp_path, *data(digits))
    assert 'acc/top1' in text
    assert 'Params: 0.313M' in tool('analysis_tools/get_flops.py', CONFIG, '--shape', 1, 3, 8, 48, 48)


def test_an_unknown_tool_is_answered_with_those_there_are():
    command = [forked.python(*forked.OURS), '-m', 'mmsvf', 'mmaction::analysis_tools/nope.py']
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode and 'analysis_tools/confusion_matrix.py' in result.stderr
    for wrong in ('nope.py', 'mmdet::train.py'):
        result = subprocess.run([*command[:3], wrong], capture_output=True, text=True, cwd=ROOT)
        assert result.returncode and wrong.split('train')[0] in result.stderr and 'Traceback' not in result.stderr
