"""A framework's own tool on configs and checkpoints of mmsvf: ``python -m mmsvf TOOL [ARGUMENTS]``.

``TOOL`` is a script, or one that came with a framework: ``mmaction::analysis_tools/confusion_matrix.py``. It runs as
with ``python TOOL``, but mmsvf is imported before it: what the wheels of the frameworks lack is there, the models are
registered, and what a checkpoint holds is not run. ``mmsvf::train.py`` is our own, wherever mmsvf is installed.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from mmsvf.frameworks import is_installed, mim_folder

FRAMEWORKS = 'mmaction', 'mmpose', 'mmpretrain', 'mmseg', 'mmsvf'


def script(tool: str) -> Path:
    """The file of a tool.

    Raises:
        SystemExit: there is none; the message has those there are.
    """
    framework, found, name = tool.partition('::')
    if not found:
        path = Path(tool)
        if not path.is_file():
            raise SystemExit(f'{tool} is no file; give a script, or {FRAMEWORKS[0]}::NAME of those a framework has')
        return path
    if framework not in FRAMEWORKS or not is_installed(framework):
        raise SystemExit(f'{framework}:: is none of {", ".join(FRAMEWORKS)} that is installed')
    tools = mim_folder(framework) / 'tools'
    if not (tools / name).is_file():
        names = '\n'.join(sorted(str(p.relative_to(tools)) for p in tools.rglob('*.py') if p.name != '__init__.py'))
        raise SystemExit(f'{framework} has no tool {name!r}; choose one of\n{names}')
    return tools / name


def main() -> None:
    """Run the tool that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        print(__doc__)
        raise SystemExit(0 if len(sys.argv) > 1 else 2)
    path = script(sys.argv[1])
    sys.argv = [str(path), *sys.argv[2:]]
    sys.path[0] = str(path.parent)  # as with `python TOOL`
    runpy.run_path(str(path), run_name='__main__')


if __name__ == '__main__':
    main()
