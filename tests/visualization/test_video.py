"""Videos that play: in headless Chromium where there is one, and as a decoder other than the encoder's sees them."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from mmsvf.visualization import video
from mmsvf.visualization.video import VideoWriter, write_video

from ..conftest import ROOT, python_path

av = pytest.importorskip('av')
COLOURS = [(200, 40, 30), (30, 200, 60), (40, 60, 220)]  # BGR
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
PAGE = b"""<body><script>
(async () => {
  const found = [];
  for (const name of FILES) {
    const video = document.createElement('video');
    video.muted = true; video.src = name; document.body.append(video);
    await new Promise(next => {
      video.requestVideoFrameCallback(next); video.onerror = next; video.play().catch(next);
    });
    const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
    canvas.width = video.videoWidth || 1; canvas.height = video.videoHeight || 1; pen.drawImage(video, 0, 0);
    const at = k => Array.from(pen.getImageData((k + .5) * canvas.width / 3, canvas.height / 2, 1, 1).data).slice(0, 3);
    found.push({error: video.error && video.error.code, ready: video.readyState, pixels: [0, 1, 2].map(at)});
  }
  await fetch('/', {method: 'POST', body: JSON.stringify(found)});
})();
</script></body>"""


def stripes(height, width, count=12):
    frame = np.zeros((height, width, 3), np.uint8)
    for k, colour in enumerate(COLOURS):
        frame[:, k * width // 3 : (k + 1) * width // 3] = colour
    for i in range(count):
        moved = frame.copy()
        moved[:4, i : i + 8] = 255
        yield moved


@pytest.fixture(scope='module', params=['the best codec', 'libvpx-vp9'])
def files(request, tmp_path_factory):
    """Videos above and below the size from which players guess other colours, one with odd sides."""
    folder = tmp_path_factory.mktemp('videos')
    with pytest.MonkeyPatch.context() as patch:
        if request.param in video.CODECS:
            patch.setattr(video, 'CODECS', {request.param: video.CODECS[request.param]})
        for height, width in ((720, 1280), (63, 97)):
            write_video(folder / f'{height}.mp4', stripes(height, width), 29.97)
    return sorted(folder.glob('*.mp4'))


def test_another_decoder_sees_every_frame_in_its_colours(files):
    for path in files:
        data = path.read_bytes()
        assert data.index(b'moov') < data.index(b'mdat'), 'the index stands in front'
        capture, count = cv2.VideoCapture(str(path)), 0
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(29.97, abs=0.01)
        while True:
            good, frame = capture.read()
            if not good:
                break
            count += 1
            height, width = frame.shape[:2]
            for k, colour in enumerate(COLOURS):
                np.testing.assert_allclose(frame[height // 2, (2 * k + 1) * width // 6], colour, atol=6)
        assert count == 12
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            assert stream.codec_context.name in ('h264', 'vp9', 'libvpx-vp9')
            assert stream.codec_context.pix_fmt == 'yuv420p'


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here')
def test_chromium_plays_them_in_their_colours(files, tmp_path):
    answers, answered = [], threading.Event()
    page = PAGE.replace(b'FILES', json.dumps([path.name for path in files]).encode())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != '/':
                return super().do_GET()
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(page)

        def do_POST(self):
            answers.extend(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            self.send_response(200)
            self.end_headers()
            answered.set()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=str(files[0].parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}']
    command += ['--autoplay-policy=no-user-gesture-required', f'http://127.0.0.1:{server.server_port}/']
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert answered.wait(60), 'no answer of the browser'
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
    for answer in answers:
        assert answer['error'] is None and answer['ready'] >= 1
        for pixel, colour in zip(answer['pixels'], COLOURS):
            np.testing.assert_allclose(pixel[::-1], colour, atol=6)


def test_a_file_is_whole_or_not_there(tmp_path):
    frame = np.zeros((32, 32, 3), np.uint8)

    def frames():
        yield frame
        assert [path.name[-5:] for path in (tmp_path / 'a').iterdir()] == ['.part']
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / 'a' / 'b.mp4', frames(), 10)
    assert not list((tmp_path / 'a').iterdir())
    write_video(tmp_path / 'none.mp4', [], 10)
    assert not (tmp_path / 'none.mp4').exists()


def stamps(path):
    capture, found = cv2.VideoCapture(str(path)), []
    while capture.read()[0]:
        found.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return found


def test_frames_with_times_of_their_own_play_as_they_came(tmp_path):
    times = [0.2, 0.3, 0.45, 0.45, 1.7, 1.81, 3.2, 9.2]
    with VideoWriter(tmp_path / 'a.mp4', (32, 32), 30, timed=True) as writer:
        for k, time in enumerate(times):
            writer.write(np.full((32, 32, 3), 20 * k, np.uint8), time)
    np.testing.assert_allclose(stamps(tmp_path / 'a.mp4'), np.array(times) - 0.2, atol=0.0021)
    with av.open(str(tmp_path / 'a.mp4')) as file:
        assert file.duration / 1e6 >= 8.999


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(OSError, match='cannot write'):
        VideoWriter('/proc/x.mp4', (32, 32), 10)
    monkeypatch.setattr(video, 'CODECS', {'no-such-codec': {}})
    with pytest.raises(OSError, match='encodes none of no-such-codec; pip install'):
        VideoWriter(tmp_path / 'x.mp4', (32, 32), 10)
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with pytest.raises(ImportError, match='pip install av'):
        VideoWriter(tmp_path / 'x.mp4', (32, 32), 10)


def test_decord_takes_no_codec_away(tmp_path):
    """Loaded first, its libvpx would be PyAV's; the module that writes videos loads PyAV."""
    pytest.importorskip('decord')
    script = (
        'import numpy, mmsvf.visualization.video as video, decord\n'
        "video.CODECS = {'libvpx-vp9': video.CODECS['libvpx-vp9']}\n"
        f'video.write_video({str(tmp_path / "a.mp4")!r}, numpy.zeros((3, 32, 32, 3), numpy.uint8), 10)\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True, env={**os.environ, 'PYTHONPATH': python_path(ROOT)})
    assert (tmp_path / 'a.mp4').stat().st_size
