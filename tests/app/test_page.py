"""The demo page: what its server says and refuses, and a user's way through it in headless Chromium."""

import io
import json
import re
import runpy
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from itertools import count
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from werkzeug.test import Client

from mmsvf.analysis.attention_map import attention_row
from mmsvf.analysis.models import run_model
from mmsvf.apis.sources import Images
from mmsvf.app import runs, samples
from mmsvf.app.demos import demo_models
from mmsvf.app.guard import HEADERS
from mmsvf.app.runs import Begin, Limits, Run
from mmsvf.app.samples import make_samples
from mmsvf.app.server import PAGE, DemoApp, serve
from mmsvf.visualization.video import write_video

from ..conftest import ROOT
from .browser import CHROMIUM, Browser

ORIGIN = {'Origin': 'http://localhost'}
SMALL = {'--val': '2', '--test': '1', '--frames': '17'}
DIGIT = 'model=svf_moving_digits&sample=moving-digits-1'


def run_here(command, **_):
    """A script in this process, which has imported most of what it needs."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setattr(sys, 'argv', command[1:])
        runpy.run_path(command[1], run_name='__main__')
    return subprocess.CompletedProcess(command, 0)


@pytest.fixture(scope='module')
def app(tmp_path_factory):
    """The demo models, with samples that their scripts make: few and short ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples.subprocess, 'run', run_here)
        for data, (script, *options) in samples.SCRIPTS.items():
            pairs = dict(zip(options[::2], options[1::2]))
            small = {name: SMALL.get(name, value) for name, value in pairs.items()}
            patch.setitem(samples.SCRIPTS, data, (script, *(word for pair in small.items() for word in pair)))
        made = make_samples(ROOT / 'tools' / 'dataset_converters', tmp_path_factory.mktemp('samples'))
    with DemoApp(demo_models(ROOT, 'cpu'), made, max_upload=10**6, limits=Limits(seconds=2.0)) as app:
        yield app
    assert not app.runs.folder.exists(), 'nothing is left at the end'


@pytest.fixture(scope='module')
def client(app):
    return Client(app)


def predict(client, query, content=b''):
    """The answer to a request, and where it comes to."""
    answer = client.post(f'/runs?{query}', data=content, content_type='application/octet-stream', headers=ORIGIN)
    said = answer.json
    while said.get('state') == 'running':
        time.sleep(0.02)
        said = client.get(f'/runs/{said["id"]}').json
    return answer.status_code, said


def post(client, url, values=None):
    return client.post(url, json=values or {}, headers=ORIGIN)


@pytest.fixture(scope='module')
def digit(client):
    status, said = predict(client, DIGIT)
    assert status == 202 and said['state'] == 'done', said
    return said


def test_a_prediction_is_that_of_the_predictor(app, client, digit):
    expected = list(app.models['svf_moving_digits'].predictor(app.samples['moving-digits-1'].path))
    records = client.get(f'/runs/{digit["id"]}/records').json
    assert records == [record.to_dict() for record in expected]
    assert digit['done'] == digit['expected'] == len(expected) and digit['mean'] == records[0]['top']
    part = client.get(f'/runs/{digit["id"]}/files/prediction.mp4', headers={'Range': 'bytes=4-11'})
    assert part.status_code == 206 and part.data == b'ftypisom' and part.mimetype == 'video/mp4'


def test_what_the_network_does(app, client, digit):
    seen = post(client, f'/runs/{digit["id"]}/clips/1').json
    assert len(seen['frames']) == 8 and seen['frames'][0].startswith('data:image/png;base64,')
    assert {len(neuron['rates']) for neuron in seen['neurons']} == {8}
    assert 0 < np.mean([neuron['rates'] for neuron in seen['neurons']]) < 0.5
    energy = seen['energy']
    for name, total in energy['totals'].items():
        assert sum(layer[name] or 0 for layer in energy['layers']) == pytest.approx(total)
    assert energy['totals']['paper'] < 0.2 * energy['totals']['dense']

    model, clip = app.models['svf_moving_digits'].predictor, app.runs.runs[digit['id']].clips[1]
    layer, query = seen['attentions'][-1]['name'], [0.6, 0.2, 0.9]
    for head in (None, 3):
        asked = dict(layer=layer, query=query, head=head)
        answer = post(client, f'/runs/{digit["id"]}/clips/1/attention', asked).json
        row, token, *_ = attention_row(
            model.model, lambda: run_model(model.cfg, model.model, clip.inputs), layer, query, head
        )
        assert answer['query'] == list(token) == [4, 0, 2]
        np.testing.assert_allclose(answer['scores'], row.numpy(), atol=1e-4)


def test_the_other_tasks(client):
    _, said = predict(client, 'model=svf_moving_scenes_vss&sample=moving-scenes-1')
    assert said['state'] == 'done' and sum(share for _, share in said['mean']) > 0.9 and not said['pose']
    url = f'/runs/{said["id"]}/clips/{len(said["clips"]) - 1}'
    seen = post(client, url).json
    layer = next(read['name'] for read in seen['attentions'] if read['name'].startswith('memory'))
    answer = post(client, f'{url}/attention', dict(layer=layer, query=[0.1, 0.5, 0.5])).json
    assert answer['query'] == [3, 16, 24] and np.shape(answer['scores']) == (4, 32, 48)
    assert [any(score is None for row in frame for score in row) for frame in answer['scores']] == [False] * 3 + [True]
    for model in ('svf_moving_body', 'svf_moving_body_event'):
        _, said = predict(client, f'model={model}&sample=moving-body-1')
        assert said['pose'] and 20 < said['errors']['PA-MPJPE'] < 100, said


@pytest.mark.parametrize(
    'method, url, values, status, message',
    [
        ('POST', '/runs?model=x&sample=moving-digits-1', None, 404, "no model 'x'"),
        ('POST', '/runs?model=svf_moving_digits&sample=../x', None, 404, "no sample '../x'"),
        ('GET', '/runs/x', None, 404, "no result 'x'"),
        ('GET', '/runs/RUN/files/..%2f..%2fapp.py', None, 404, 'not found'),
        ('GET', '/runs/RUN/files/upload.mp4', None, 404, 'has no file'),
        ('GET', '/page/..%2fserver.py', None, 404, 'not found'),
        ('GET', '/page/server.py', None, 404, "no 'server.py'"),
        ('POST', '/runs/RUN/clips/99', {}, 404, 'has 4 clips'),
        ('POST', '/runs/RUN/clips/0/attention', dict(layer='x', query=[0, 0, 0]), 400, "layer='x'; choose one of"),
        ('POST', '/runs/RUN/clips/0/attention', dict(layer='LAYER', query=[0, 0, 7]), 400, 'each from 0 to 1'),
        ('POST', '/runs/RUN/clips/0/attention', dict(layer='LAYER', query=[float('nan')] * 3), 400, 'each from 0 to 1'),
        (
            'POST',
            '/runs/RUN/clips/0/attention',
            dict(layer='LAYER', query=[0, 0, 0], head=99),
            400,
            'there are 8 heads',
        ),
        ('POST', '/runs/RUN/clips/0/attention', dict(layer=['x'], query='y'), 400, 'from 0 to 1'),
        ('POST', '/runs/RUN/clips/0/attention', [1], 400, 'from 0 to 1'),
        ('POST', '/runs/RUN/clips/0/attention', dict(layer='x' * 20_000), 413, 'exceeds'),
        ('PUT', '/runs', None, 405, 'not allowed'),
    ],
)
def test_wrong_requests_get_a_message(client, digit, method, url, values, status, message):
    layer = 'backbone.stages.3.blocks.0.attn.units.0.read'
    if isinstance(values, dict) and values.get('layer') == 'LAYER':
        values = dict(values, layer=layer)
    body = dict(json=values) if values is not None else dict(content_type='application/octet-stream')
    answer = client.open(url.replace('RUN', digit['id']), method=method, headers=ORIGIN, **body)
    assert answer.status_code == status and message in answer.json['error'], answer.json


def test_answers_allow_nothing_from_elsewhere(client, digit):
    """Each answer says so to the browser, and the page asks for nothing."""
    for url in ('/', '/state', '/nothing', f'/runs/{digit["id"]}'):
        assert HEADERS.items() <= dict(client.get(url).headers).items()
    for path in PAGE.iterdir():
        answer = client.get(f'/page/{path.name}')
        assert answer.status_code == 200 and answer.text == path.read_text()
        assert not re.search(r'https?:|url\(|@import|innerHTML|eval\(', answer.text)
    assert client.get('/state', headers={'Host': 'evil.example'}).status_code == 403
    assert client.post('/runs', headers={'Origin': 'http://evil.example'}).status_code == 403


@pytest.fixture(scope='module')
def video(app):
    return app.samples['moving-digits-2'].path


@pytest.mark.parametrize('cut', ['header', 'middle', 'nothing inside'])
def test_a_broken_video_gets_a_message(app, client, video, cut):
    whole = video.read_bytes()
    content = {'header': whole[:40], 'middle': whole[: len(whole) // 2], 'nothing inside': whole[:16] + bytes(5000)}[
        cut
    ]
    _, said = predict(client, 'model=svf_moving_digits&name=<b>.mp4', content)
    assert said['state'] == 'failed' and said['message'].startswith('<b>.mp4 c'), said
    assert 'give a video' in said['message'] and str(app.runs.folder) not in said['message']
    assert not list(app.runs.folder.rglob('upload*'))


def test_uploads_are_limited_and_go(app, client, video):
    before = set(app.runs.folder.iterdir())
    status, said = predict(client, 'model=svf_moving_digits&name=a.mp4', bytes(10**6 + 1))
    assert status == 413 and "'a.mp4' is larger than 1 MB" in said['error']
    status, said = predict(client, 'model=svf_moving_digits&name=a.mp4', b'no video')
    assert status == 400 and "'a.mp4' is no video" in said['error']
    assert set(app.runs.folder.iterdir()) == before
    _, said = predict(client, 'model=svf_moving_digits&name=a.mp4', video.read_bytes())
    folder = app.runs.folder / said['id']
    assert said['state'] == 'done' and said['name'] == 'a.mp4'
    assert sorted(path.name for path in folder.iterdir()) == [f'prediction.{s}' for s in ('jsonl', 'mp4', 'png')]
    assert client.delete(f'/runs/{said["id"]}', headers=ORIGIN).status_code == 200
    assert not folder.exists() and client.get(f'/runs/{said["id"]}').status_code == 404


def test_what_is_wrong_with_an_upload_has_its_name_and_not_ours(app, client, tmp_path):
    write_video(tmp_path / 'a.mp4', np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8), 25)
    data = (tmp_path / 'a.mp4').read_bytes()
    _, said = predict(client, 'model=svf_moving_digits&name=mine.mp4', data[: len(data) // 2])
    assert said['state'] == 'done' and said['notes'][0].startswith('mine.mp4 ends after ')
    assert str(app.runs.folder) not in json.dumps(said)


def test_one_computes_at_a_time_and_can_be_stopped(app, client, monkeypatch):
    monkeypatch.setattr(app.runs, 'patience', 0.05)
    monkeypatch.setattr(app.runs, 'limits', Limits(1e9))
    _, digit = predict(client, DIGIT)
    endless = Images((np.zeros((64, 64, 3), np.uint8) for _ in count()), 100)
    run = Run(app.runs.folder, 'svf_moving_digits', 'endless')
    thread = app.runs.start(run, lambda: app.models['svf_moving_digits'].predictor, lambda predictor: endless)
    for url in (f'/runs?{DIGIT}', f'/runs/{digit["id"]}/clips/0'):
        answer = post(client, url)
        assert answer.status_code == 409 and 'another computation is running' in answer.json['error']
    assert client.get(f'/runs/{run.id}/records').status_code == 409
    while client.get(f'/runs/{run.id}').json['done'] < 20:
        time.sleep(0.01)
    assert post(client, f'/runs/{run.id}/stop').status_code == 200
    thread.join(20)
    said = client.get(f'/runs/{run.id}').json
    assert said['state'] == 'done' and said['notes'][0].startswith('stopped at ') and said['done'] > 10
    app.runs.remove(run)
    assert post(client, f'/runs/{digit["id"]}/clips/0').status_code == 200


def test_a_long_video_is_cut_and_old_results_go(app, capsys):
    frames = [np.full((8, 8, 3), i, np.uint8) for i in range(30)]
    begin = Begin(Images(frames, 10), Limits(1.0), lambda: False)
    assert [frame.index for frame in begin] == list(range(11)) and begin.length == 11
    assert begin.notes == ['only the first 1 s were looked at (--max-seconds)']
    small = Begin(Images(iter(frames), 10), Limits(60, 4), lambda: False)
    assert {frame.image.shape for frame in small} == {(4, 4, 3)} and small.read == 30
    assert small.notes == ['frames of 8 x 8 pixels were made smaller, 4 x 4']
    for i in range(runs.KEPT + 2):
        app.runs.start(Run(app.runs.folder, 'svf_moving_digits', str(i)), lambda: None, lambda predictor: None).join()
    assert len(app.runs.runs) <= runs.KEPT + 1 == len(list(app.runs.folder.iterdir()))


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here')
def test_a_users_way_through_the_page(app, video, tmp_path):
    hostile = tmp_path / '<img src=x onerror=alert(1)>.mp4'
    hostile.write_bytes(video.read_bytes()[:40])
    server = serve(app, 'localhost', 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    idle = "!document.body.classList.contains('busy')"
    shown = "document.getElementById('frame').toDataURL()"
    try:
        with Browser(tmp_path / 'profile') as page:
            page.open(f'http://localhost:{server.server_port}/')
            page.wait("document.querySelectorAll('#samples img').length")
            page.click('[data-name=moving-digits-1]')
            page.wait(f"{idle} && !document.getElementById('result').hidden")
            assert page.js("document.querySelectorAll('#scores .bar').length") == 5
            assert page.js("document.querySelectorAll('#heat .cells:not(.head) b').length") == 6 * 8
            assert page.js("document.querySelectorAll('#bars .pair').length") == 6 * 2
            page.wait("document.getElementById('video').currentTime > 0.1", 20)
            page.wait("document.getElementById('query').textContent.startsWith('Row 2, column 2 of 3 x 3')")

            before = page.js(shown)
            page.click('#frame', 0.9, 0.1)
            page.wait("document.getElementById('query').textContent.startsWith('Row 1, column 3 of 3 x 3')")
            assert page.js(shown) != before
            page.click('#strip canvas:first-child', 0.1, 0.9)
            page.wait("document.getElementById('query').textContent.includes('Row 3, column 1')")
            assert page.js("document.querySelector('#heat b.now').dataset.step") == '0'
            page.click('#play')
            page.wait("+document.getElementById('step').value > 1")

            page.choose_file('#file', hostile)
            page.wait(f"{idle} && !document.getElementById('error').hidden")
            said = page.js("document.getElementById('error').textContent")
            assert said.startswith(f'{hostile.name} could not be read') and str(app.runs.folder) not in said
            page.choose_file('#file', video)
            page.wait(f"{idle} && !document.getElementById('result').hidden")
            assert page.js("document.getElementById('source').textContent") == f'Actions: {video.name}'
            assert page.js("document.getElementById('error').hidden")
            running = set(app.runs.runs)
            page.open('about:blank')
            for _ in range(100):
                if set(app.runs.runs) < running:
                    break
                time.sleep(0.05)
            assert set(app.runs.runs) < running, 'a result goes when the page is left'
            assert not page.console
            asked = [urlsplit(url) for url in page.requests]
            assert {url.scheme for url in asked} == {'http', 'data'}
            assert {url.netloc for url in asked if url.scheme == 'http'} == {f'localhost:{server.server_port}'}
    finally:
        server.shutdown()
        server.server_close()


def test_thumbnails_are_pictures(app, client):
    for name in app.samples:
        picture = cv2.imdecode(np.frombuffer(client.get(f'/samples/{name}').data, np.uint8), cv2.IMREAD_COLOR)
        assert min(picture.shape[:2]) >= 120
