"""Videos by their first bytes: each kind opens, and no text does that has FFmpeg open other files."""

import struct

import cv2
import numpy as np
import pytest

import mmsvf  # noqa: F401
from mmsvf.apis.find_sources import find_sources
from mmsvf.apis.sources import open_source
from mmsvf.files.videos import check_video
from mmsvf.visualization.video import write_video

av = pytest.importorskip('av')

HLS = '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\nother.ts\n#EXT-X-ENDLIST\n'
SDP = 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n'
DASH = """<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1000"><BaseURL>other.mp4</BaseURL>
</Representation></AdaptationSet></Period></MPD>"""
JOINED = 'ffconcat version 1.0\nfile other.mp4\n'
LISTS = {
    'joined': (JOINED, 'joined'),
    'joined, small': (JOINED.replace('v', ' v', 1), 'joined'),
    'joined, a stream by its byte 188': ((JOINED + '#').ljust(188) + 'G\n', 'joined'),
    'hls': (HLS, 'HLS'),
    'hls, a stream by its byte 188': (HLS.ljust(188) + 'G\n', 'HLS'),
    'sdp': (SDP, 'SDP'),
    'sdp, a GIF': ('GIF89a\n' + SDP, 'SDP'),
    'sdp, an mp4': ('    ftypjp2 \n' + SDP, 'SDP'),
    'dash': (DASH, 'DASH'),
    'dash, an mp4': ('    free' + DASH, 'DASH'),
    'an mp4 of spaces': ('    free'.ljust(500), 'does not begin as MP4'),
    'page': ('<html>404 Not Found</html>', 'does not begin as MP4'),
    'nothing': ('', 'it is empty'),
}
# containers with encoders and pixels; FFmpeg's muxer by the name, where that is another
WRITTEN = {
    'mp4': ('libx264', 'yuv420p'), 'mov': ('mpeg4', 'yuv420p'), 'mkv': ('libx264', 'yuv420p'),
    'webm': ('libvpx-vp9', 'yuv420p'), 'avi': ('mpeg4', 'yuv420p'), 'gif': ('gif', 'rgb8'), 'flv': ('flv', 'yuv420p'),
    'wmv': ('wmv2', 'yuv420p'), 'mpg': ('mpeg1video', 'yuv420p'), 'ts': ('mpeg2video', 'yuv420p'),
    'm2ts': ('libx264', 'yuv420p'), 'm4v': ('mpeg4', 'yuv420p'), '3gp': ('h263', 'yuv420p'),
    'y4m': ('wrapped_avframe', 'yuv420p'), 'ivf': ('libvpx', 'yuv420p'), 'h264': ('libx264', 'yuv420p'),
}  # fmt: skip


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    """A folder with what the lists name."""
    folder = tmp_path_factory.mktemp('other')
    write_video(folder / 'other.mp4', [np.full((64, 64, 3), 200, np.uint8)] * 3, 25)
    return folder


@pytest.mark.parametrize('name', LISTS)
def test_a_list_of_other_files_is_no_video(name, other):
    text, message = LISTS[name]
    path = other / 'list.mp4'
    path.write_text(text)
    with pytest.raises(ValueError, match=rf'list\.mp4 could not be read .*cannot be read as a video: .*{message}'):
        list(open_source(path))


def test_a_name_is_no_address(other, monkeypatch):
    """Neither as FFmpeg's protocol, nor as a pattern or a number of pictures."""
    monkeypatch.chdir(other)
    for name in ('concat:other.mp4|other.mp4', 'file:other.mp4', 'http://localhost/other.mp4', 'subfile,,:other.mp4'):
        with pytest.raises(ValueError, match='is missing'):
            list(open_source(name))
        with pytest.raises(FileNotFoundError, match='does not exist'):
            find_sources([name])
    for number in (1, 2):
        cv2.imwrite(str(other / 'a.jpg'), np.zeros((8, 8, 3), np.uint8))
        (other / 'a.jpg').rename(other / f'clip{number}.mp4')
    for name in ('clip1.mp4', 'clip%d.mp4'):
        with pytest.raises(ValueError, match=r'does not begin as MP4|is missing'):
            list(open_source(name))
    video = (other / 'other.mp4').read_bytes()
    for name in ('concat:a.mp4', '$(x).mp4', '--help.mp4', 'a b é 影.mp4', 'frame%03d.mp4', 'http:x.mp4', "';#.mp4"):
        (other / name).write_bytes(video)
        assert len(list(open_source(name))) == 3, name
    cv2.imwrite('1.png', np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite('2.png', np.zeros((8, 8, 3), np.uint8))
    assert len(list(open_source('1.png'))) == 1, 'a picture is one frame, not the first of those after it'
    write_video('a:b/c.mp4', [np.zeros((8, 8, 3), np.uint8)], 25)
    assert len(list(open_source('a:b/c.mp4'))) == 1


@pytest.mark.parametrize('suffix', WRITTEN)
def test_videos_of_each_kind_open(suffix, tmp_path):
    codec, pixels = WRITTEN[suffix]
    if codec not in av.codecs_available:
        pytest.skip(f'this PyAV has no {codec}')
    options = dict(format='mpegts', options={'mpegts_m2ts_mode': '1'}) if suffix == 'm2ts' else {}
    options = dict(format='yuv4mpegpipe') if suffix == 'y4m' else options
    path = tmp_path / f'a.{suffix}'
    with av.open(str(path), 'w', **options) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 176, 144, pixels
        for k in range(12):
            frame = np.random.default_rng(k).integers(0, 255, (144, 176, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame).reformat(format=pixels)))
        file.mux(stream.encode())
    check_video(path)
    assert 11 <= len(list(open_source(path))) <= 12


@pytest.mark.parametrize('first', [b'moov', b'wide', b'free', b'skip'])
def test_old_quicktime_begins_with_another_box(first, other, tmp_path):
    video = (other / 'other.mp4').read_bytes()
    (tmp_path / 'a.mov').write_bytes(struct.pack('>I4s', 8, first) + video)
    check_video(tmp_path / 'a.mov')
    (tmp_path / 'a.mov').write_bytes(struct.pack('>I4s', 0x20202020, b'mdat') + video)
    with pytest.raises(ValueError, match='does not begin as MP4'):
        check_video(tmp_path / 'a.mov')
