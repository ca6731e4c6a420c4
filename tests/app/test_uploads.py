"""What a browser sends: names, kinds and sizes."""

import io

import pytest

from mmsvf.app.uploads import save_upload, shown_name

MP4 = b'\0\0\0\x18ftypisom' + bytes(300)


@pytest.mark.parametrize(
    'name, shown',
    [
        ('a.mp4', 'a.mp4'),
        ('../../etc/passwd', 'passwd'),
        ('C:\\videos\\b.mp4', 'b.mp4'),
        ('a\0b\x1b[31m\u202e.mp4', 'ab[31m.mp4'),
        ('x' * 500, 'x' * 80),
        ('/', 'video'),
    ],
)
def test_names_are_for_people(name, shown):
    assert shown_name(name) == shown


@pytest.mark.parametrize('name', ['a.mp4', '../../a.MP4', 'frame_%03d.mp4', '/etc/cron.d/a.mp4', 'http:/x/a.mp4'])
def test_a_file_has_a_name_of_ours(name, tmp_path):
    path = save_upload(io.BytesIO(MP4), name, tmp_path, 1000)
    assert path == tmp_path / 'upload.mp4' and path.read_bytes() == MP4
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.exe', MP4, "'a.exe' is no video by its name; .mp4"),
        ('a', MP4, 'is no video by its name'),
        ('list.m3u8', b'#EXTM3U', 'is no video by its name'),
        ('a.mp4', b'#EXTM3U\nfile:///etc/passwd', r"'a.mp4' is no video: it is a playlist \(HLS\)"),
        ('a.mp4', b'ffconcat version 1.0\nfile /etc/passwd\n#'.ljust(188) + b'G', 'a list of files to be joined'),
        ('a.avi', b'RIFF\0\0\0\0WAVE', 'does not begin as'),
        ('a.mp4', b'', 'it is empty'),
        ('a.npz', b'\x93NUMPY', 'is no .npz'),
        ('a.mp4', MP4 + bytes(10**6), r'larger than 0\.001 MB \(--max-upload\)'),
    ],
)
def test_other_files_are_refused_and_removed(name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_upload(io.BytesIO(content), name, tmp_path, 1000)
    assert not list(tmp_path.iterdir())
