"""The analysis tools as a user calls them, on the shipped checkpoint and on frameworks' own configs."""

import csv
import json
import pickle
import re

import cv2
import numpy as np
import pytest
import torch

from .test_train_and_test import ROOT, tool

CONFIG = 'configs/demo/svf_moving_digits.py'
CHECKPOINT = ROOT / 'checkpoints' / 'svf_moving_digits-1475b0c1.pth'


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp('moving_digits')
    tool('dataset_converters/moving_digits', folder, '--train', '2', '--val', '3')
    return folder


def data(digits):
    return [
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={digits / "val.txt"}',
        f'test_dataloader.dataset.data_prefix.video={digits / "val"}',
    ]


def test_energy_of_test_data(digits, tmp_path):
    """Three clips although four were asked for; every number says what it rests on; files agree with the terminal."""
    files = [f'--{kind}={tmp_path / "out" / f"report.{kind}"}' for kind in ('json', 'csv', 'html')]
    log = tool('analysis/energy', CONFIG, CHECKPOINT, *files, *data(digits))
    text = re.sub(r'\s+', ' ', log)
    assert "input 1 x 3 x 8 x 48 x 48, T = 8, 8 frame(s) per clip; rates of 3 clip(s), the config's test data" in text
    assert 'E_MAC 4.6 pJ, E_AC 0.9 pJ' in text and 'torch 2' in text and 'random' not in text.lower()
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['clips'] == 3 and report['time_steps'] == report['frames'] == 8
    assert report['macs'] == pytest.approx(95_578_624, rel=1e-6)
    totals = report['totals']
    assert totals['paper']['mj_per_clip'] < totals['merged']['mj_per_clip'] < totals['strict']['mj_per_clip']
    for name, values in totals.items():
        assert re.search(rf'{name} .*{values["mj_per_clip"]:.5g}', log), 'the table has the total of the file'
    rows = {row['name']: row for row in report['rows']}
    first = rows['backbone.stages.0.downsample.conv']
    assert first['signal'] == 'real' and first['energy']['paper'] == pytest.approx(first['macs'] * 4.6e-9)
    attention = rows['backbone.stages.3.blocks.0.attn.units.0.read[1]']
    assert attention['signal'] == 'binary' and 0 < attention['rate'] < 1
    spiking = rows['backbone.stages.0.blocks.0.channel_conv.conv1']
    assert len(spiking['rates']) == 8 and spiking['rate'] == pytest.approx(sum(spiking['rates']) / 8)
    assert rows['cls_head.fc']['signal'] == 'binary'
    lines = (tmp_path / 'out' / 'report.csv').read_text().splitlines()
    table = list(csv.DictReader(lines[1:]))
    assert [line['layer'] for line in table] == list(rows)
    assert '<html' in (tmp_path / 'out' / 'report.html').read_text()


def test_energy_of_a_framework_config():
    log = tool(
        'analysis/energy', 'mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py',
        '--random', '--depth', '1', '--shape', '3', '64', '64',
    )  # fmt: skip
    with pytest.raises(AssertionError, match=r"the config's test data: .*; give --video FILE or --random instead"):
        tool('analysis/energy', 'configs/svf_k400_small.py')
    assert 'RANDOM INPUT' in log and 'WARNING: random input' in log
    assert 'pre-trained weights not loaded: model.backbone.pretrained=https' in log


def test_flops():
    log = tool('analysis/get_flops', 'configs/svf_k400_small.py', '--shape', '3', '2', '224', '224')
    assert 'parameters: 14.90 M' in log and '6.481 G per frame' in log and '10.04 G per frame' in log


def test_spike_driven(digits):
    """Ours is, with the folds named; a ResNet is not."""
    log = tool('analysis/check_spike_driven', CONFIG)
    assert '33 on spikes, 20 expected on other input, 0 unexpected' in log
    log = tool('analysis/check_spike_driven', CONFIG, CHECKPOINT, '--video', next((digits / 'val').glob('*.mp4')))
    assert '0 unexpected' in log
    resnet = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    with pytest.raises(AssertionError, match=r'21 layers: 0 on spikes, 1 expected on other input, 20 unexpected'):
        tool('analysis/check_spike_driven', resnet, '--shape', '3', '64', '64')
    tool('analysis/check_spike_driven', resnet, '--shape', '3', '64', '64', '--allow', 'backbone|head')


def test_figure_2(tmp_path):
    """Spikes as dark squares, and bars as long as the scores: two of six channels are a third of a whole bar."""
    log = tool('analysis/fig2_scores', '--out', tmp_path / 'a' / 'fig2.png')
    rows = re.findall(r'\] +(\d) +(\d)/6', log)
    assert rows == [*zip('0000', '2431'), *zip('1111', '4532')]
    picture = cv2.imread(str(tmp_path / 'a' / 'fig2.png')).astype(int)

    def bars(*rgb):
        """Lengths of the bars of a colour from top to bottom, in pixels; letters are thinner."""
        mask = (np.abs(picture - rgb[::-1]).max(-1) < 12).astype(np.uint8)
        rows = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((15, 25), np.uint8)).sum(1)
        lengths = [int(np.median(part)) for part in np.split(rows, np.flatnonzero(np.diff(rows != 0)) + 1)]
        return [length for length in lengths if length]

    sixth = max(bars(59, 125, 216)) / 5
    assert [round(length / sixth, 1) for length in bars(59, 125, 216)] == [2, 4, 3, 1, 4, 5, 3, 2]
    assert [round(length / sixth, 1) for length in bars(217, 130, 43)] == [1, 1, 1, 1]
    square = bars(28, 35, 48)[4]  # of the query with one spike
    assert [round(length / square) for length in bars(28, 35, 48)] == [4, 2, 3, 5, 1, 3, 2, 4, 5]


def test_figure_3(tmp_path):
    """The mean error is that of a mean of D votes: about sqrt(E[g (1 - g)] 2 / (pi D))."""
    log = tool('analysis/fig3_approximation', '--pairs', '2000', '--sizes', '64', '256', '--out', tmp_path / 'f.png')
    found = {int(d): (float(mean), float(band)) for d, mean, band in re.findall(r'2000 +(\d+) +(\S+) +\S+ +(\S+)', log)}
    for d, (mean, band) in found.items():
        assert mean == pytest.approx((0.246 * 2 / 3.1416 / d) ** 0.5, rel=0.1)
        assert band == pytest.approx((3.6889 / (2 * d)) ** 0.5, rel=1e-3) and mean < band
    assert set(found) == {64, 256} and cv2.imread(str(tmp_path / 'f.png')) is not None


def test_figure_8(digits, tmp_path):
    """An input twice as large has four times as many tokens."""
    out = tmp_path / 'a' / 'fig8.png'
    layer = 'backbone.stages.3.blocks.0.attn.units.0.read'
    argv = '--layer', layer, '--out', out, '--query', '0.5', '0.5', '0.5', '--scale', '2'
    log = tool('analysis/fig8_attention', CONFIG, CHECKPOINT, *argv, *data(digits))
    assert re.search(r'query \(4, 3, 3\) of 8 x 6 x 6: scores 0\.\d+ to [01]\.\d+; .* of the keys spike', log)
    picture = cv2.imread(str(out))
    assert picture.shape[1] > 4 * picture.shape[0] and picture.std() > 20
    video, count = cv2.VideoCapture(str(out.with_suffix('.mp4'))), 0
    while video.read()[0]:
        count += 1
    assert count == 8
    assert f'{layer}: clip, hamming, 8 heads' in tool('analysis/fig8_attention', CONFIG, CHECKPOINT, '--list')


def test_confusions_of_a_checkpoint_and_of_predictions(digits, tmp_path):
    """A checkpoint is tested; of predictions the config's data has the labels."""
    out = '--normalize', '--out', tmp_path / 'a' / 'confusion.png'
    log = tool('analysis/confusion_matrix', CONFIG, CHECKPOINT, *out, '--work-dir', tmp_path / 'w', *data(digits))
    right = int(re.search(r'top-1 \d+\.\d% \((\d) of 3\)', log).group(1))
    assert right >= 2 and re.search(r'-  north-east +0 of 0', log)
    picture = cv2.imread(str(tmp_path / 'a' / 'confusion.png'))
    blue = np.abs(picture.astype(int) - (107, 48, 8)).max(-1) < 12  # the darkest of the colours: 100 %
    assert blue.sum() > right * 2000
    (tmp_path / 'p').mkdir()  # as predict.py writes it
    said = [dict(source=str(digits / 'val' / f'0000{i}.mp4'), mean=[['east', 0.9]]) for i in range(3)]
    (tmp_path / 'p' / 'sources.jsonl').write_text('\n'.join(map(json.dumps, said)))
    log = tool('analysis/confusion_matrix', CONFIG, tmp_path / 'p', *out, *data(digits))
    assert '(1 of 3)' in log and re.search(r'1  south-east +taken for  east', log)


def test_clips_right_and_wrong_ones(digits, tmp_path):
    """Frames with gaps, a green and a red mark, the matrix beside them."""
    scores = torch.eye(8)[[0, 2, 2]]  # the second is wrong
    samples = [dict(gt_label=torch.tensor([i]), pred_score=score) for i, score in enumerate(scores)]
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(samples))
    out = tmp_path / 'b' / 'predictions.png'
    log = tool(
        *('visualizations/show_clips', tmp_path / 'a.pkl', digits / 'val.txt', digits / 'val', '--out', out),
        *('--classes', digits / 'classes.txt', '--clips', '2'),
    )
    assert 'top-1 66.7% of 3 videos (chance 12.5%)' in log and '1 of 1 mistakes: south-east taken for south' in log
    picture = cv2.imread(str(out)).astype(int)
    marks = [np.abs(picture - colour).max(-1) < 12 for colour in ((87, 139, 46), (34, 34, 178))]  # seagreen, firebrick
    assert all(mark.sum() > 300 for mark in marks)
    rows = [np.flatnonzero(mark.any(1)) for mark in marks]
    assert rows[0].max() < rows[1].min(), 'the first clip is right, the second wrong'
    middle = picture[rows[0].max() - 20, : picture.shape[1] // 2]
    assert (np.diff((middle.min(-1) > 250).astype(int)) == 1).sum() >= 8, 'white between the frames'
