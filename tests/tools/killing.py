"""Train, kill -9 at random moments and resume, until the training is over; a script, so that forks start from imports.

    [MMSVF_FIRST=1] python tests/tools/killing.py WORK_DIR KILLS PROCESSES SEED CONFIG [FLAGS OF train.py]

Half of the moments are within the write, the rename or the removal of a checkpoint. The framework is imported before
mmsvf, as by its own tools, or after it.

WORK_DIR/whole is trained without interruption, WORK_DIR/parts with. Prints how many kills came before the end.
"""

import gc
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

# imported here, so that each start finds them there
if os.environ.get('MMSVF_FIRST'):
    import mmsvf
import mmaction.apis  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import mmsvf.engine.launch
import mmsvf.models.backbones.spike_video_former
import mmsvf.spiking.numba_kernels  # noqa: F401
from mmsvf.files.checkpoints import is_whole

# what Python reports when a checkpoint is written (just before the bytes), renamed to its final name, or removed
EVENTS = {'open': '.partial', 'os.rename': '.partial', 'os.remove': '.pth'}


def die_at(event: str, count: int, wait: float) -> None:
    """Have this process killed at the ``count``-th such event, ``wait`` seconds into it."""
    seen = [0]

    def hook(name: str, arguments: tuple) -> None:
        if name == event and str(arguments[0]).endswith(EVENTS[event]):
            seen[0] += 1
            if seen[0] == count:
                threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()

    sys.addaudithook(hook)


def start(command: list[str], rank: int, processes: int, port: int, log: Path, event: tuple | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    if event is not None:
        die_at(*event)
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if processes > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), MASTER_PORT=str(port))
        os.environ['MASTER_ADDR'] = '127.0.0.1'
        command = [*command, '--launcher', 'pytorch']
    sys.argv = ['train.py', *command]
    code = 1
    try:
        import runpy

        runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'train.py'), run_name='__main__')
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(code)


def stop(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def run(
    command: list[str],
    processes: int,
    port: int,
    log: Path,
    moment: float | None,
    victims: int,
    event: tuple | None = None,
) -> bool:
    """One start; kills ``victims`` of the processes after ``moment`` seconds or at an event. Did it come to its end?"""
    pids = [start(command, rank, processes, port, log, event) for rank in range(processes)]
    begin, left = time.monotonic(), set(pids)
    codes, struck = {}, False
    while left:
        for pid in list(left):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                codes[pid] = status
                left.discard(pid)
        if moment is not None and not struck and time.monotonic() - begin > moment and left:
            stop(random.sample(sorted(left), min(victims, len(left))))
            struck = True
        if any(codes.values()):  # as torchrun does when one of its processes fails
            stop(list(left))
        time.sleep(0.02)
    return not any(codes.values())


def main() -> None:
    gc.freeze()  # as in fork_server.py
    folder, kills, processes, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    command = sys.argv[5:]
    random.seed(seed)
    port = 29700 + os.getpid() % 2000
    begin = time.monotonic()
    assert run([*command, '--work-dir', str(folder / 'whole')], processes, port, folder / 'whole.log', None, 0)
    length = time.monotonic() - begin
    done, count, within = False, 0, 0
    while not done and count < kills:
        victims = random.randint(1, processes)
        moment = random.uniform(0.2, length)
        resumed = [*command, '--work-dir', str(folder / 'parts'), '--resume']
        event = None
        if random.random() < 0.5:
            moment, event = None, (random.choice(list(EVENTS)), random.randint(1, 2), random.uniform(0, 0.003))
        done = run(resumed, processes, port + 1 + count, folder / 'parts.log', moment, victims, event)
        half = [path for path in (folder / 'parts').glob('*.pth') if not is_whole(path)]
        assert not half, f'half a checkpoint under its final name: {half}'
        count, within = count + (not done), within + (not done and event is not None)
    if not done:
        assert run(resumed, processes, port + 1 + count, folder / 'parts.log', None, 0), 'the last start failed'
    print(f'{count} kills, {within} of them within a write, rename or removal; without any it takes {length:.1f} s')


if __name__ == '__main__':
    main()
