"""Whether a file is a video by its first bytes, before a decoder gets it.

FFmpeg, which OpenCV and decord decode with, goes by the content, whatever the name. Some of its formats are texts that
name other files, which it opens: lists to be joined (``ffconcat``), playlists (HLS, DASH), descriptions of a session
(SDP). OpenCV gives no way to leave these out: 4.11 passes nothing of ``OPENCV_FFMPEG_CAPTURE_OPTIONS`` on.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

KINDS = 'MP4, MOV, WebM, Matroska, AVI, GIF, FLV, WMV, MPEG, Ogg, IVF or Y4M'
BOXES = (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip', b'pnot', b'junk', b'uuid', b'styp')  # MP4, MOV, 3GP
BEGINNINGS: tuple[tuple[int, bytes], ...] = (  # from a place on
    (0, b'\x1a\x45\xdf\xa3'),  # Matroska, WebM
    (8, b'AVI '),
    (0, b'GIF87a'),
    (0, b'GIF89a'),
    (0, b'FLV\x01'),
    (0, b'\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c'),  # WMV
    (0, b'\x00\x00\x01\xba'),  # MPEG
    (0, b'\x00\x00\x01\xb3'),
    (0, b'\x00\x00\x00\x01'),  # H.264 and H.265 alone
    (0, b'OggS\x00'),
    (0, b'DKIF\x00\x00'),  # IVF
    (0, b'YUV4MPEG2 '),
)
PACKETS = ((0, 188), (4, 192))  # of an MPEG transport stream: where the first one's mark is, and their length
LISTS = {  # what FFmpeg knows a text by, in small letters
    b'ffconcat': 'a list of files to be joined (ffconcat)',
    b'#extm3u': 'a playlist (HLS)',
    b'<mpd': 'a playlist (DASH)',
    b'<compositionplaylist': 'a playlist (IMF)',
    b'c=in ip': 'a description of a session (SDP)',
}
LOOKED_AT = 2048  # bytes, those by which FFmpeg chooses at first


def check_video(path: str | PathLike) -> None:
    """Refuse what does not begin as a video does, and texts that have FFmpeg open other files.

    Raises:
        OSError: no such file, or one that cannot be opened.
        ValueError: another kind of file. What is wrong follows 'it is no video: '.
    """
    path = Path(path)
    with path.open('rb') as file:
        begin = file.read(LOOKED_AT)
    if not begin:
        raise ValueError('it is empty')
    text = begin.split(b'\0', 1)[0].lower()  # where FFmpeg's readers of texts end, too
    for mark, what in LISTS.items():
        if mark in text:
            raise ValueError(f'it is {what}, which names other files: these are not followed; give the videos')
    if not (_is_box(begin, path.stat().st_size) or _is_stream(begin) or _begins(begin)):
        raise ValueError(f'it does not begin as {KINDS} does')


def _begins(begin: bytes) -> bool:
    return any(begin[at : at + len(magic)] == magic for at, magic in BEGINNINGS)


def _is_box(begin: bytes, size: int) -> bool:
    """Whether a box is first; its length, in four bytes, is short but for that of the frames."""
    return begin[4:8] in BOXES and (
        begin[0] == 0 or (begin[4:8] == b'mdat' and int.from_bytes(begin[:4], 'big') <= size)
    )


def _is_stream(begin: bytes) -> bool:
    """Whether an MPEG transport stream's packets follow each other."""
    return any(len(begin) > first + length and set(begin[first::length]) == {0x47} for first, length in PACKETS)
