"""Find videos that cannot be read, before a training meets them, even where the decoder crashes or hangs."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mmsvf.files.videos import check_video

CHUNK = 256


def read_video(path: str, decoder: str, frames: int, every: bool) -> None:
    """Decode a video; whatever is wrong with it is an exception."""
    if not Path(path).is_file():
        raise FileNotFoundError('no such file')
    check_video(path)
    if decoder == 'decord':
        import decord

        video = decord.VideoReader(path, num_threads=1)
        count = len(video)
        read: Callable[[int], bool] = lambda i: video.get_batch([i]).shape[0] > 0  # noqa: E731  (as the training)
    else:
        import cv2

        capture = cv2.VideoCapture(path)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        read = lambda i: capture.set(cv2.CAP_PROP_POS_FRAMES, i) and capture.read()[0]  # noqa: E731
    if count < max(1, frames):
        raise ValueError(f'{count} frames, {max(1, frames)} are needed')
    for i in range(count) if every else sorted({0, count // 2, count - 1}):
        if not read(i):
            raise ValueError(f'frame {i} of {count} cannot be decoded')


def check(path: str, decoder: str, frames: int, every: bool, timeout: float) -> str | None:
    """What is wrong with a video, or None. A decoder that crashes or hangs ends the process (:func:`check_all`)."""
    signal.setitimer(signal.ITIMER_REAL, timeout)  # ends the process: a decoder that hangs hears nothing else
    try:
        read_video(path, decoder, frames, every)
    except Exception as error:
        return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def check_all(paths: list[str], jobs: int, test: Callable[[str], str | None]) -> Iterator[tuple[str, str | None]]:
    """Each path with what is wrong with it, in parallel; a crash of the decoder costs only its own video."""
    context = multiprocessing.get_context('spawn')
    for begin in range(0, len(paths), CHUNK * jobs):
        chunk = paths[begin : begin + CHUNK * jobs]
        done = set()
        try:
            with ProcessPoolExecutor(jobs, context) as pool:
                futures: dict[Future, str] = {pool.submit(test, path): path for path in chunk}
                for future in as_completed(futures):
                    result = future.result()
                    done.add(futures[future])
                    yield futures[future], result
        except BrokenProcessPool:
            pass
        for path in chunk:  # one by one after a crash, to know whose it was
            if path not in done:
                try:
                    with ProcessPoolExecutor(1, context) as alone:
                        yield path, alone.submit(test, path).result()
                except BrokenProcessPool:
                    yield path, 'the decoder crashed, or took longer than --timeout'
