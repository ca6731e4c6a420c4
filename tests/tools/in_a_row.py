"""The blocks of a page in one process, one after the other: most of a short run is imports.

``in_a_row.py BLOCKS.json PRINTED.json``: blocks of Python are written to the file that their first line names; of a
block of bash each line runs, a Python script by ``runpy`` after the shell's own expansion of its arguments.
"""

import json
import os
import re
import runpy
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python(argv):
    """A command of Python in this process."""
    if argv[:2] == ['-m', 'mmsvf']:
        argv = [str(ROOT / 'mmsvf' / '__main__.py'), *argv[2:]]
    if argv[0] == '-c':
        return exec(argv[1], {})
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()  # the framework of the command before
    sys.argv, path = argv, sys.path[0]
    sys.path[0] = str(Path(argv[0]).parent)
    try:
        runpy.run_path(argv[0], run_name='__main__')
    finally:
        sys.path[0] = path


def run(command):
    """What a line prints, on both streams."""
    argv = subprocess.run(['bash', '-c', f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    name, *argv = argv.stdout.split('\0')[:-1]
    kept = os.dup(1), os.dup(2)
    with open('printed.txt', 'w+b') as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        try:
            assert name == 'python', f'{command}: python expected'
            python(argv)
        except SystemExit as ended:
            print('ended:', ended)
        except Exception as error:
            traceback.print_exc()
            print('ended:', error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
            file.seek(0)
            text = file.read().decode(errors='replace')
    return text


def main():
    import mmengine.config.config as config

    import mmsvf  # noqa: F401

    config.FormatCode = lambda text, **_: (text, True)  # laying configs out nicely is a third of a short run
    blocks, printed = json.loads(Path(sys.argv[1]).read_text()), {}
    out = Path(sys.argv[2])
    for kind, text in blocks:
        if kind == 'python':
            Path(re.match(r'# (\S+\.py)\n', text)[1]).write_text(text)
            continue
        for command in re.sub(r'\\\n *', '', text).splitlines():
            printed[command] = run(command)
            out.write_text(json.dumps(printed))


if __name__ == '__main__':
    main()
