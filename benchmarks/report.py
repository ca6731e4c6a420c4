"""The report of gpu.py: what parts printed as Markdown, and what their figures must reach. Python's library alone."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Bar:
    """What a figure must reach: one of a part's JSON, or a pattern, of whose matches in its output the last counts."""

    part: str
    what: str
    figure: str
    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value reaches it."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


class Report:
    """The Markdown file, and what has been found so far."""

    def __init__(self, out: Path, bars: Sequence[Bar], tiny: bool) -> None:
        self.out, self.limits, self.tiny = out, bars, tiny
        self.head = f'# {"A rehearsal on a CPU, at sizes that say nothing" if tiny else "On a GPU"}\n\n{machine()}\n'
        self.sections: dict[str, str] = {}
        self.failed: list[str] = []
        self.unfinished: set[str] = set()

    def add(self, name: str, command: str, output: str, seconds: float, code: int | None, shows: str) -> None:
        """A part's section; ``code`` is None where it ran out of time."""
        end = 'out of time' if code is None else f'exit status {code}' if code else 'done'
        if code != 0:
            self.failed.append(f'{name}: {end}')
            self.unfinished.add(name)
        shown = '\n'.join(re.findall(shows, output, re.M)) if shows else ''
        body = f'```\n{shown}\n```\n' if shown else tables(output)
        body = junit(self.out / 'right.xml') if name == 'right' else body
        if code != 0 or not body:
            body += f'\n```\n{output[-3000:].strip()}\n```\n'
        self.sections[name] = f'## {name}\n`{command}`: {end} after {seconds:.0f} s\n\n{body}'
        self.write()

    def figure(self, bar: Bar) -> float | None:
        """The value of a bar's figure, if it has been measured; the last of a log counts of a part that ended alone."""
        file = self.out / f'{bar.part}.json'
        found = json.loads(file.read_text()) if file.is_file() else {}
        if bar.figure in found:
            return float(found[bar.figure])
        if bar.part in self.unfinished:  # what it learnt in its first epochs
            return None
        log = self.out / f'{bar.part}.log'
        matches = re.findall(bar.figure, log.read_text(errors='replace')) if log.is_file() else []
        return float(matches[-1]) if matches else None

    def bars(self) -> tuple[str, list[str]]:
        """The table of what must hold, and what was measured and does not."""
        lines, missed = ['| what must hold | part | bar | measured | |', '|---|---|---|---|---|'], []
        for bar in self.limits:
            value = self.figure(bar)
            limit = f'>= {bar.least:g}' if bar.least is not None else f'<= {bar.most:g}'
            verdict = (
                'not measured' if value is None else '-' if self.tiny else 'holds' if bar.holds(value) else 'MISSED'
            )
            if verdict == 'MISSED':
                missed.append(f'{bar.what}: {value:.3g}, {limit} wanted')
            measured = '-' if value is None else f'{value:.3g}'
            lines.append(f'| {bar.what} | {bar.part} | {limit} | {measured} | {verdict} |')
        return '\n'.join(lines) + '\n', missed

    def write(self) -> None:
        """The file, with what there is so far."""
        text = '\n'.join([self.head, self.bars()[0], *self.sections.values()])
        (self.out / 'report.md').write_text(text, encoding='utf-8')


def machine() -> str:
    """GPU, driver, versions and commit, as far as commands say them."""
    smi = 'nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader'
    torch = [sys.executable, '-c', 'import torch; print(torch.__version__)']
    commit = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty']
    found = [ask(shlex.split(smi)) or 'no GPU', f'torch {ask(torch)}', f'Python {platform.python_version()}']
    found += [f'{os.cpu_count()} CPU cores ({platform.machine()})', f'mmsvf {ask(commit) or "unknown commit"}']
    found.append(compiler())
    return ', '.join([*found, time.strftime('%Y-%m-%d')]) + f'\n\n`{shlex.join(["python", *sys.argv])}`'


def compiler() -> str:
    """What Triton compiles its launchers with, as it looks for it; without it no kernel of it runs."""
    found = os.environ.get('CC') or shutil.which('gcc') or shutil.which('clang')
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    if not found or not header.is_file():
        return f'NO KERNEL OF TRITON CAN RUN HERE: {f"no {header}" if found else "no C compiler"}'
    return ask([found, '--version'])


def ask(command: list[str]) -> str:
    """First line of a command's output, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ''


def junit(path: Path) -> str:
    """pytest's report as a table of test functions."""
    if not path.is_file():
        return ''
    rows: dict[str, list[float]] = {}
    for case in ET.parse(path).iter('testcase'):
        name = f'{case.get("classname", "").removeprefix("tests.")}.{case.get("name", "").partition("[")[0]}'
        row = rows.setdefault(name, [0, 0, 0, 0.0])
        row[0] += 1
        row[1] += case.find('failure') is not None or case.find('error') is not None
        row[2] += case.find('skipped') is not None
        row[3] += float(case.get('time', 0))
    lines = ['| test | cases | failed | skipped | s |', '|---|---|---|---|---|']
    lines += [f'| {name} | {row[0]} | {row[1]} | {row[2]} | {row[3]:.1f} |' for name, row in rows.items()]
    return '\n'.join(lines) + '\n'


def tables(output: str) -> str:
    """What of an output is a Markdown table, with the line that stands before."""
    kept: list[str] = []
    said = ''
    for paragraph in re.split(r'\n\s*\n', output):
        rows = [line for line in paragraph.splitlines() if re.fullmatch(r'\|.*\|\s*', line)]
        if rows:
            kept += [*[f'{said}\n'] * bool(said), *rows, '']
        # the line before a table says what was measured
        said = '' if rows else next((line for line in reversed(paragraph.splitlines()) if line.strip()), said)
    return '\n'.join(kept)
