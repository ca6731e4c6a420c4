"""Video files as they are found in downloaded data sets, by what is wrong with them."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import cv2
import numpy as np

UNREADABLE = ('truncated', 'zero_byte', 'audio_only', 'text', 'wrong_extension')
READABLE = ('one_frame', 'huge', 'variable_rate', 'narrow')


def write_video(path: Path, frames: int, size: tuple[int, int] = (64, 64)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 15, size)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for i in range(frames):
        writer.write(cv2.resize(np.roll(coarse, i, 1), size))
    writer.release()
    return path


def vary_rate(path: Path) -> None:
    """Give the first half of an mp4's frames another duration, in its time-to-sample box."""
    data = bytearray(path.read_bytes())
    assert data.rfind(b'moov') > data.find(b'mdat'), 'offsets of frames stay where the header comes last'
    at = data.rfind(b'stts')
    entries, count, delta = struct.unpack('>III', data[at + 8 : at + 20])
    assert entries == 1
    half = count // 2
    data[at + 8 : at + 20] = struct.pack('>IIIII', 2, half, delta, count - half, 3 * delta)
    for name in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stts'):
        box = data.rfind(name) - 4
        data[box : box + 4] = struct.pack('>I', struct.unpack('>I', data[box : box + 4])[0] + 8)
    path.write_bytes(data)


def make(folder: Path, kind: str) -> Path:
    path = folder / f'{kind}.mp4'
    if kind == 'truncated':
        write_video(path, 16)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == 'zero_byte':
        path.touch()
    elif kind == 'audio_only':
        with wave.open(str(path), 'wb') as sound:
            sound.setparams((1, 2, 8000, 0, 'NONE', ''))
            sound.writeframes(b'\0\0' * 8000)
    elif kind == 'text':
        path.write_text('<html>404 Not Found</html>')
    elif kind == 'wrong_extension':  # a picture
        cv2.imwrite(str(path.with_suffix('.jpg')), np.zeros((64, 64, 3), np.uint8))
        path.with_suffix('.jpg').rename(path)
    elif kind == 'one_frame':
        write_video(path, 1)
    elif kind == 'huge':
        write_video(path, 2, (4096, 2160))
    elif kind == 'narrow':  # decord pads its rows
        write_video(path, 16, (48, 96))
    elif kind == 'variable_rate':
        write_video(path, 16)
        vary_rate(path)
    else:
        write_video(path, 16)
    return path


def crashing(name: str) -> str | None:
    """Stands for a decoder."""
    if name == 'crash':
        os._exit(9)
    return name if name == 'bad' else None
