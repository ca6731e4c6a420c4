"""A Python that has imported modules already: a server that forks, and what asks it; the standard library alone.

python fork_server.py serve SOCKET MODULE...    imports the modules, then forks for each that asks, until stdin ends
python fork_server.py ask SOCKET EXECUTABLE ...    as python ...: [-u] -m MODULE, -c CODE or a script, with arguments

A fork has the files, the folder, the variables and the PYTHONPATH of the process that asks, which waits for it and ends
as it does; where that is killed, the fork is, too. In the fork ``sys.executable`` is EXECUTABLE, which asks again.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from types import ModuleType


def python_path() -> list[str]:
    return [os.path.abspath(path) for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path]


def serve(path: str, modules: list[str]) -> None:
    """Until stdin ends; returns in a fork that is to go on as the process that was asked for."""
    installed = [entry for entry in sys.path[1:] if entry not in python_path()]
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f'{path}.new')
    server.listen()
    os.rename(f'{path}.new', path)  # there as soon as it answers
    while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return answer(connection, installed)
        connection.close()
    os._exit(0)


def answer(connection: socket.socket, installed: list[str]) -> None:
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as lines:
        asked = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        os.environ.clear()
        os.environ.update(asked['environ'])
        os.chdir(asked['folder'])
        sys.executable = asked['executable']
        sys.path[:] = ['', *python_path(), *installed]
        return run(asked['argv'])
    for file in files:
        os.close(file)
    ended = os.pidfd_open(pid)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        connection.sendall(str(code).encode())
    os._exit(0)


def run(argv: list[str]) -> None:
    """What Python does with its arguments."""
    if argv[0] == '-u':  # torchrun's and xdist's
        argv = argv[1:]
    if argv[0] == '-c':
        sys.argv = ['-c', *argv[2:]]
        sys.modules['__main__'] = main = ModuleType('__main__')
        exec(compile(argv[1], '<string>', 'exec'), main.__dict__)
    elif argv[0] == '-m':
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv = argv
        sys.path[0] = os.path.dirname(os.path.abspath(argv[0]))
        runpy.run_path(argv[0], run_name='__main__')


def ask(path: str, executable: str, argv: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    socket.send_fds(connection, [b'.'], [0, 1, 2])
    asked = dict(argv=argv, folder=os.getcwd(), environ=dict(os.environ), executable=executable)
    connection.sendall(json.dumps(asked).encode() + b'\n')
    code = int(connection.recv(16) or 1)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == '__main__':
    if sys.argv[1] == 'serve':
        serve(sys.argv[2], sys.argv[3:])
    else:
        ask(sys.argv[2], sys.argv[3], sys.argv[4:])
