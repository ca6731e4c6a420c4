"""What each convention charges, against sums written out by hand."""

import json
import re
import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import mmsvf
from mmsvf.analysis.energy import CONVENTIONS, OperationCounter
from mmsvf.analysis.energy.conventions import dense_merged_macs
from mmsvf.analysis.energy.html import joules, to_html, units
from mmsvf.analysis.energy.report import make_report, stage
from mmsvf.analysis.energy.spike_driven import find
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.spiking.layers import RepConv, SepConv

MAC, AC = 4.6e-12, 0.9e-12


class Small(nn.Module):
    """Real input -> 1x1 -> spikes -> RepConv -> 1x1 on real input."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.rep = RepConv(4, 6)
        self.last = nn.Conv2d(6, 5, 1, bias=False)

    def forward(self, x):
        spikes = (self.first(x) > 0.3).float().unsqueeze(0)  # TBCHW
        return self.last(self.rep(spikes)[0])


@pytest.fixture
def counted():
    torch.manual_seed(0)
    model = Small().eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad(), OperationCounter(model, time_steps=1) as counter:
        model(x)
        rate = (model.first(x) > 0.3).float().mean().item()
    counter.operations.pop()  # that of the rate
    return model, counter.layers, rate


def total(name, model, layers):
    return sum(charge.energy() for charge in CONVENTIONS[name].charge(layers, model))


def test_conventions(counted):
    model, layers, rate = counted
    n = 2 * 8 * 8
    border = 4 * 9 * 8 * 8  # RepConv's border, an image of its own
    first, pointwise1, depthwise, pointwise2, last = n * 12, n * 16, n * 4 * 9 + border, n * 24, n * 30
    assert [layer.macs for layer in layers] == [first, pointwise1, depthwise, pointwise2, last]
    spiking = pointwise1 + depthwise + pointwise2 + last
    assert total('paper', model, layers) == pytest.approx(first * MAC + rate * spiking * AC, rel=1e-6)
    strict = (first + depthwise + pointwise2 + last) * MAC + rate * pointwise1 * AC
    assert total('strict', model, layers) == pytest.approx(strict, rel=1e-6)
    folded = n * 9 * 4 * 6
    assert total('merged', model, layers) == pytest.approx((first + last) * MAC + rate * folded * AC, rel=1e-6)
    assert dense_merged_macs(layers, model) == first + folded + last


@pytest.mark.parametrize('how', ['autocast', 'warm autocast', 'fused', 'computed'])
def test_a_repconv_is_merged_however_it_is_run(counted, how):
    """Cast weights, folded norms and computed weights: no layer goes by another name, and no figure changes."""
    model, layers, _ = counted
    x = torch.arange(2 * 3 * 64.0).view(2, 3, 8, 8) % 7 - 3
    model.first.weight.data.sign_()  # bfloat16 has the sums, too: the same spikes
    changed = model
    if how == 'fused':
        changed = mmsvf.fuse(model)
    elif how == 'computed':
        changed = deepcopy(model)
        for layer in (changed.rep.pointwise1, changed.rep.depthwise):
            parametrizations.weight_norm(layer)
    found = []
    for network, casts in ((model, False), (changed, 'autocast' in how)):
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=casts):
            if how.startswith('warm'):
                network(x)
            with OperationCounter(network) as counter:
                network(x)
        found.append((total('merged', network, counter.layers), dense_merged_macs(counter.layers, network)))
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    if how != 'computed':
        assert [layer.name for layer in counter.layers] == [layer.name for layer in layers]
        assert all(layer.parameters for layer in counter.layers)
        assert [f.reason is None for f in find(counter.layers, changed)] == [False, False, False, True]


def test_networks_without_spikes_multiply():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6)).eval()
    with torch.no_grad(), OperationCounter(model) as counter:
        model(torch.randn(3, 4))
    for name in CONVENTIONS:
        assert total(name, model, counter.layers) == pytest.approx(3 * (20 + 30) * MAC)


def test_event_input_is_accumulated():
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    events = (torch.rand(2, 3, 8, 8) < 0.1).float()
    with torch.no_grad(), OperationCounter(model) as counter:
        model(events)
    for name in CONVENTIONS:
        assert total(name, model, counter.layers) == pytest.approx(2 * 36 * 4 * 27 * events.mean().item() * AC)


@pytest.mark.parametrize('arch, factored, merged', [('small', 6.47, 10.04), ('large', 24.8, 37.9)])
def test_backbone_multiply_adds_of_a_frame(arch, factored, merged):
    """Protocol 8.2, at 224 x 224; RepConv's border adds 0.12 % to one frame alone."""
    model = SpikeVideoFormer(arch).eval()
    with torch.no_grad(), OperationCounter(model) as counter:
        model(torch.zeros(1, 3, 2, 224, 224))
    layers = counter.layers
    assert sum(layer.macs for layer in layers) / 2e9 == pytest.approx(factored, rel=3e-3)
    assert dense_merged_macs(layers, model) / 2e9 == pytest.approx(merged, rel=3e-3)


def test_what_multiplies_has_a_reason(counted):
    model, layers, _ = counted
    reasons = {f.layer.name: f.reason for f in find(layers, model)}
    assert set(reasons) == {'first', 'rep.depthwise', 'rep.pointwise2', 'last'}
    assert 'real input' in reasons['first'] and 'merges' in reasons['rep.depthwise'] and reasons['last'] is None
    torch.manual_seed(0)
    sep = nn.Sequential(SepConv(8)).eval()
    sep[0].norm1.bias.data.fill_(3.0)
    with torch.no_grad(), OperationCounter(sep) as counter:
        sep(4 * torch.rand(2, 1, 8, 9, 9))
    (finding,) = find(counter.layers, sep)
    assert finding.layer.name == '0.pointwise2' and 'depth-wise' in finding.reason


def report(counted):
    model, layers, _ = counted
    return make_report(
        layers, model, config='svf <test>', inputs=(3, 8, 8), clips=1, frames=2, time_steps=1, source='random',
        notes=['a & b'],
    )  # fmt: skip


def test_report_agrees_with_itself(counted):
    """The sum of the layers is the total, in JSON and CSV; a frame is half of this clip."""
    result = report(counted)
    data = json.loads(json.dumps(result.to_dict()))
    lines = result.to_csv().splitlines()
    assert lines[0].startswith('# svf <test>: input 3 x 8 x 8, T = 1, 2 frame(s)') and 'torch' in lines[0]
    for i, (name, values) in enumerate(data['totals'].items()):
        column = [line.split(',')[8 + i] for line in lines[2:]]
        assert sum(float(v) for v in column if v) == pytest.approx(values['mj_per_clip'])
        assert sum(row['energy'][name] or 0 for row in data['rows']) == pytest.approx(values['mj_per_clip'])
        assert values['mj_per_frame'] == pytest.approx(values['mj_per_clip'] / 2)
        charged = values['multiply_accumulates'] * MAC + values['accumulates'] * AC
        assert 1e3 * charged == pytest.approx(values['mj_per_clip'])
    assert stage('backbone.stages.3.blocks.0.attn.read[1]') == 'backbone.stages.3'
    assert stage('backbone.layer1.0.conv1') == 'backbone.layer1' and stage('cls_head.fc') == 'cls_head'


CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine')
def test_page_opens_in_a_browser(counted, tmp_path):
    """Offline, without a word on the console, with the figures of the JSON."""
    result = report(counted)
    page = tmp_path / 'report.html'
    page.write_text(to_html(result), encoding='utf-8')
    flags = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--enable-logging=stderr',
        '--host-resolver-rules=MAP * ~NOTFOUND',
    ]
    command = [CHROMIUM, *flags, f'--user-data-dir={tmp_path / "profile"}', '--dump-dom', page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 'CONSOLE' not in run.stderr, run.stderr
    data = json.loads(re.search(r'id="report">(.*?)</script>', run.stdout, re.S)[1])
    assert data == json.loads(json.dumps(result.to_dict()))
    for name, values in data['totals'].items():
        for unit in ('clip', 'frame'):
            shown = re.search(rf'id="{name}-{unit}">([^<]*)<', run.stdout)[1]
            assert float(shown) == pytest.approx(values[f'mj_per_{unit}'], rel=1e-3)
    shown = re.search(r'<h2>Layers.*?<tbody>\s*<tr>(.*?)</tr>', run.stdout, re.S)[1]
    cells = re.findall(r'>([^<]*)</td>', shown)
    assert cells[4:6] == [units(data['rows'][0]['parameters']), units(data['rows'][0]['macs'])]
    assert cells[7].split()[1] in ('mJ', 'µJ', 'nJ', 'pJ') and float(cells[7].split()[0]) < 1000
    assert len(re.findall(r'<rect ', run.stdout)) == 3 * len({row['stage'] for row in data['rows']})


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine')
def test_page_fits_a_window_of_1300_pixels(counted, tmp_path):
    """With long names of layers, and 32 time steps."""
    result = report(counted)
    result.rows = [
        replace(row, rates=row.rates and (0.1,) * 32, name=f'backbone.{row.name * 4}') for row in result.rows
    ]
    measure = '<script>document.title = `${document.documentElement.scrollWidth} of ${innerWidth}`</script></body>'
    page = tmp_path / 'report.html'
    page.write_text(to_html(result).replace('</body>', measure), encoding='utf-8')
    command = [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--window-size=1300,900']
    command += [f'--user-data-dir={tmp_path / "profile"}', '--dump-dom', page.as_uri()]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found, window = map(int, re.search(r'<title>(\d+) of (\d+)</title>', text).groups())
    assert window == 1300 and found <= 1300


def test_units_are_those_that_people_read():
    assert [units(x) for x in (9_920_000, 1_180, 12, 0, None)] == ['9.92 M', '1.18 k', '12', '0', '-']
    assert [joules(x) for x in (38.9, 0.0249, 3.26e-5, 2e-10, 0, None)] == [
        '38.9 mJ', '24.9 µJ', '32.6 nJ', '0.2 pJ', '0', '-'
    ]  # fmt: skip


def test_page_asks_for_nothing_outside(counted):
    page = to_html(report(counted))
    assert 'svf &lt;test&gt;' in page and 'a &amp; b' in page
    assert not re.search(r'(src|href)="(?!data:)', page) and 'http' not in page


def test_events_do_not_make_a_network_spiking():
    """A plain network on binary events: its first layer may accumulate, nothing takes that rate on."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    with OperationCounter(model) as counter, torch.no_grad():
        model((torch.rand(1, 3, 9, 9) < 0.2).float())
    first, *rest = counter.layers
    assert first.signal == 'binary'
    charges = CONVENTIONS['paper'].charge(counter.layers, model)
    assert [c.macs for c in charges] == [0, *(layer.macs for layer in rest)]
    assert charges[0].acs == first.additions and all(c.acs == 0 for c in charges[1:])
