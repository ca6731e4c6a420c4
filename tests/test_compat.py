"""The bridges, against the installed packages."""

import http.server
import importlib.util
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

import mmsvf  # noqa: F401
from tests.broken_videos import write_video
from tests.tools import forked


def test_ops_of_mmcv_lite_say_what_is_missing():
    pytest.importorskip('mmcv')
    import mmcv.ops
    from mmengine.model.utils import revert_sync_batchnorm

    try:
        from mmcv import _ext  # noqa: F401

        pytest.skip('this mmcv has compiled ops')
    except ImportError:
        pass
    with pytest.raises(RuntimeError, match=r'needs the compiled mmcv; this is mmcv-lite.*mim install'):
        mmcv.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    assert 'mmcv._ext' not in sys.modules
    revert_sync_batchnorm(torch.nn.SyncBatchNorm(3))  # looks for mmcv._ext


def test_frameworks_import_in_any_order_and_each_bridge_is_logged_once():
    code = (
        'import mmsvf\n'
        'import mmpose.models, mmaction.models, mmseg.models\n'
        'from mmaction.models.localizers import DRN\n'
        'try:\n    DRN()\nexcept ImportError as error:\n    print(error)\n'
    )
    result = subprocess.run([forked.python(*forked.INSTALLED), '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    output = result.stdout + result.stderr
    folder = {name: Path(importlib.util.find_spec(name).origin).parent for name in ('mmcv', 'mmaction')}
    compiled = any(folder['mmcv'].glob('_ext*'))
    assert output.count('mmcv has no compiled ops') == (not compiled)
    missing = not (folder['mmaction'] / 'models' / 'localizers' / 'drn').is_dir()
    assert output.count('lacks localizers/drn') == output.count('DRN is missing from this mmaction2 wheel') == missing


class Serves(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_pkg_resources_says_nothing_of_its_end():
    """MMEngine imports and reloads it to find a framework's configs."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        importlib.reload(pytest.importorskip('pkg_resources'))
    assert not [warning for warning in said if 'deprecated as an API' in str(warning.message)]


def test_checkpoints_from_the_web_are_checked_too(tmp_path, monkeypatch):
    import os

    from mmengine.runner.checkpoint import CheckpointLoader

    class Shell:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "ran"}',)

    torch.save({'w': torch.ones(2)}, tmp_path / 'good.pth')
    torch.save({'w': Shell()}, tmp_path / 'bad.pth')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Serves)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f'http://127.0.0.1:{server.server_port}'
        assert torch.equal(CheckpointLoader.load_checkpoint(f'{url}/good.pth')['w'], torch.ones(2))
        with pytest.raises(Exception, match=r'posix\.system'):
            CheckpointLoader.load_checkpoint(f'{url}/bad.pth')
        assert not (tmp_path / 'ran').exists()
    finally:
        server.shutdown()


def test_a_base_of_mmsvf_is_ours(tmp_path):
    """In a checkout and, with the folder that a wheel has, where it is installed."""
    from mmengine.config import Config

    config = tmp_path / 'own.py'
    config.write_text("_base_ = ['mmsvf::demo/svf_moving_digits.py']\nmodel = dict(cls_head=dict(num_classes=3))\n")
    cfg = Config.fromfile(config)
    assert cfg.model.cls_head.num_classes == 3 and cfg.model.backbone.type == 'mmsvf.SpikeVideoFormer'
    assert '_scope_' not in cfg.model, 'names are as in the file itself'
    config.write_text("_base_ = ['mmsvf::absent.py']")
    with pytest.raises(FileNotFoundError, match=r'configs/absent\.py'):
        Config.fromfile(config)


@pytest.mark.parametrize('width', [16, 24, 48, 64, 72])
def test_decord_reads_narrow_videos(width, tmp_path):
    """The pixels that OpenCV reads; what is out of range is still an error."""
    cv2, decord, np = (pytest.importorskip(name) for name in ('cv2', 'decord', 'numpy'))
    path = str(write_video(tmp_path / 'narrow.mp4', 4, (width, 96)))
    capture = cv2.VideoCapture(path)
    expected = np.stack([capture.read()[1][..., ::-1] for _ in range(4)])
    video = decord.VideoReader(path, num_threads=1)
    np.testing.assert_array_equal(video.get_batch(np.array([2, 0, 2])).asnumpy(), expected[[2, 0, 2]])
    np.testing.assert_array_equal(video[-1].asnumpy(), expected[3])
    video.seek(0)  # as DecordDecode(mode='efficient') reads
    np.testing.assert_array_equal(video.next().asnumpy(), expected[0])
    with pytest.raises(IndexError):
        video.get_batch([4])
