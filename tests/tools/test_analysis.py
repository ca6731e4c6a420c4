"""The analysis tools as a user calls them, on the shipped checkpoint and on frameworks' own configs."""

import csv
import json
import re

import cv2
import pytest

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


def test_figure_2():
    log = tool('analysis/fig2_scores')
    rows = re.findall(r'\] +(\d) +(\d)/6', log)
    assert rows == [*zip('0000', '2431'), *zip('1111', '4532')]


def test_figure_3(tmp_path):
    """The mean error is that of a mean of D votes: about sqrt(E[g (1 - g)] 2 / (pi D))."""
    log = tool('analysis/fig3_approximation', '--pairs', '2000', '--sizes', '64', '256', '--out', tmp_path / 'f.png')
    found = {int(d): (float(mean), float(band)) for d, mean, band in re.findall(r'2000 +(\d+) +(\S+) +\S+ +(\S+)', log)}
    for d, (mean, band) in found.items():
        assert mean == pytest.approx((0.246 * 2 / 3.1416 / d) ** 0.5, rel=0.1)
        assert band == pytest.approx((3.6889 / (2 * d)) ** 0.5, rel=1e-3) and mean < band
    assert set(found) == {64, 256} and cv2.imread(str(tmp_path / 'f.png')) is not None


def test_figure_8(digits, tmp_path):
    out = tmp_path / 'a' / 'fig8.png'
    layer = 'backbone.stages.3.blocks.0.attn.units.0.read'
    log = tool('analysis/fig8_attention', CONFIG, CHECKPOINT, '--layer', layer, '--out', out, *data(digits))
    assert re.search(r'query \(4, 1, 1\) of 8 x 3 x 3: scores 0\.\d+ to [01]\.\d+', log)
    assert cv2.imread(str(out)).shape == (224, 8 * 224, 3)
    assert int(cv2.VideoCapture(str(out.with_suffix('.mp4'))).get(cv2.CAP_PROP_FRAME_COUNT)) == 8
    assert f'{layer}: clip, hamming, 8 heads' in tool('analysis/fig8_attention', CONFIG, CHECKPOINT, '--list')
