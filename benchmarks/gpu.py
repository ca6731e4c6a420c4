#!/usr/bin/env python
"""Prove and measure everything on a GPU, in one command, and write one Markdown report.

python benchmarks/gpu.py [--wheels DIR] [--parts right fast learns ...] [--minutes 8] [--out work_dirs/gpu]

A bare machine without a network will do: with the Python and torch (CUDA) that are there, and a folder of wheels for
what is missing (benchmarks/wheels.py collects it), which are installed into --out. Each part is a command of its own
with a limit of its own, and can be asked for alone, by its name or by the first word of it:

right    what must be equal: the tests marked gpu (golden outputs, fp64 against the CPU, kernels against explicit steps,
         gradients, recomputation, mixed and half precision, fused, compiled, CUDA graphs)
learns   the three demos by the launcher for several GPUs, with one process; beside ``right``
fast     neurons, whole models, attention and long clips against plainly written ones in the same run
table6   not by itself: rows of Table 6 on wider models and longer clips over seeds, for a slot of its own

The report is written anew after each part, so that a stop loses nothing; a part that runs out of time shows what it
had. The exit status is 1 where something failed or misses its bar. --tiny has every part run on a CPU at sizes that say
nothing, for the test that the script has no mistake.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from report import Bar, Report

ROOT = Path(__file__).resolve().parents[1]
TESTS = 'tests/spiking tests/models tests/test_precision.py'
# most of the tests' time is Triton's compiler
WORKERS = '$(python -c "import os, xdist; print(\'-n\', min(6, os.cpu_count()))" 2> /dev/null)'
ROWS = 'base dot hierarchical factorized neuron spatial s_1_2d s_1_8 s_1_64 s_1_512 s_1_2048'
ABLATE = 'python tools/analysis/ablate.py configs/demo/svf_moving_digits.py configs/ablation/table6.yml'
DIGITS, SCENES, BODY = (f'python tools/dataset_converters/moving_{what}.py' for what in ('digits', 'scenes', 'body'))
TINY_MODEL = 'python benchmarks/model.py --arch 8,8,8,8,8 --size 32 --batch 2 --rounds 1 --variants plain default'
METRICS = r'^== .*|^top-1 .*|.*Epoch\(test\).*'
ONE_EPOCH = '--cfg-options train_cfg.max_epochs=1 param_scheduler.total_steps=1'


@dataclass
class Part:
    """A shell command with a limit in minutes, and what it is on a CPU for a test.

    In both {out} is the report's folder, {name} the part's name and {left} the minutes that it has.
    """

    minutes: float
    command: str
    tiny: str
    beside: bool = False  # together with all others of which this is true, which do not fill a GPU
    shows: str = ''  # a pattern of the lines that the report shows; by default the tables
    env: dict[str, str] = field(default_factory=dict)


PARTS = {
    # beside the demos: neither is timed, and both wait for the CPU more than for the GPU
    'right': Part(
        3,
        f'python -m pytest {WORKERS} -q -m gpu {TESTS} --junitxml={{out}}/right.xml -p no:cacheprovider '
        '--continue-on-collection-errors',
        f'python -m pytest {WORKERS} -q tests/spiking/test_layers.py --junitxml={{out}}/right.xml -p no:cacheprovider',
        beside=True,
    ),
    'fast.neurons': Part(
        1.5,
        'python benchmarks/lif.py --batch 32 --shapes 128x112x112 512x28x28 --dtype fp32 bf16 --json {out}/{name}.json',
        'python benchmarks/lif.py --shapes 2x3x3 --steps 3 --rounds 1 --dtype fp32 bf16 --json {out}/{name}.json',
    ),
    'fast.long': Part(
        1.5,
        'python benchmarks/model.py --arch large --steps 32 --batch 2 --dtype bf16 --largest-batch --rounds 3 '
        '--mode training --json {out}/{name}.json',
        f'{TINY_MODEL} --steps 4 --dtype bf16 --largest-batch --mode training --json {{out}}/{{name}}.json',
    ),
    'fast.attention': Part(
        0.7,
        'python benchmarks/linear.py --channels 512 --steps 8 16 32 64 128 --sides 7 14 28 --out {out}/linear.png '
        '--json {out}/{name}.json',
        'python benchmarks/linear.py --channels 8 --side 2 --steps 1 2 3 --sides 1 2 3 --rounds 1 '
        '--out {out}/linear.png --json {out}/{name}.json',
    ),
    'fast.clips': Part(
        0.7,
        'python benchmarks/long_clips.py --batch 2 --json {out}/{name}.json',
        'python benchmarks/long_clips.py --steps 1 2 --size 32 --rounds 1 --configs svf_mmhpsd_t8_small '
        '--json {out}/{name}.json',
    ),
    'fast.models': Part(
        2,
        'python benchmarks/model.py --arch small large --steps 8 32 1 --batch 4 --dtype bf16 fp32 --rounds 3',
        f'{TINY_MODEL} --steps 1 --mode training',
    ),
    'fast.compiled': Part(
        1.5,
        'python benchmarks/model.py --arch small --steps 8 --batch 4 --dtype bf16 --compile --rounds 3 '
        '--variants plain default fused compiled',
        f'{TINY_MODEL} --steps 1 --mode forward',
    ),
    # one process sees what two of the CPU's demos see together
    'learns.digits': Part(
        4,
        'bash tools/demo.sh --cfg-options train_dataloader.batch_size=16',
        f'{DIGITS} data/moving_digits --train 8 --val 8 --frames 10 && bash tools/demo.sh {ONE_EPOCH}',
        beside=True,
        shows=METRICS,
        env={'PROCESSES': '1', 'PORT': '29501'},
    ),
    'learns.scenes': Part(
        4,
        'bash tools/demo_seg.sh --cfg-options train_dataloader.batch_size=16',
        f'{SCENES} data/moving_scenes --train 2 --val 1 --frames 4 && '
        f'bash tools/demo_seg.sh {ONE_EPOCH} train_dataloader.dataset.times=1',
        beside=True,
        shows=METRICS,
        env={'PROCESSES': '1', 'PORT': '29502'},
    ),
    'learns.body': Part(
        4,
        'MODALITIES=events bash tools/demo_pose.sh --cfg-options train_dataloader.batch_size=8',
        f'{BODY} data/moving_body --train 1 --test 1 --frames 40 --workers 1 && touch data/moving_body/.complete && '
        'MODALITIES=events bash tools/demo_pose.sh',
        beside=True,
        shows=METRICS,
        env={'PROCESSES': '1', 'PORT': '29503'},
    ),
    'table6.digits': Part(
        9,
        f'[ -f data/moving_digits/val.txt ] || {DIGITS} data/moving_digits; '
        f'{ABLATE} --only {ROWS} --seeds 0 1 2 3 4 --jobs 8 --minutes {{left}} --work-dir {{out}}/{{name}} '
        '--cfg-options model.backbone.arch.embed_dims="(32,64,128,256,256)" model.cls_head.in_channels=256 '
        'train_dataloader.batch_size=16 train_dataloader.dataset.pipeline.1.clip_len=16 '
        'val_dataloader.dataset.pipeline.1.clip_len=16',
        f'{ABLATE} --only base --seeds 0 --minutes {{left}} --work-dir {{out}}/{{name}} {ONE_EPOCH}',
    ),
}
# the CPU's figures over seeds, by README: 87.5 % and several per cent of spread, 50 to 55 %, 44 to 46 mm
BARS = [
    Bar('fast.long', 'training step of large, T = 32, bf16: x plainly written', 'training_against_plain', 3),
    Bar('fast.long', 'its largest batch: x plainly written', 'training_batch_against_plain', 3),
    Bar('fast.neurons', "neurons: least share of a copy's bandwidth", 'neuron_bandwidth', 0.7),
    Bar('fast.neurons', "neurons: least times as fast as spikingjelly's", 'neuron_against_spikingjelly', 1.2),
    Bar('learns.digits', 'digits: top-1', r'acc/top1: (\d\.\d+)', 0.75),
    Bar('learns.scenes', 'scenes: mIoU of spoilt clips with the memory, %', r'mIoU: (\d+\.\d+)', 45),
    Bar('learns.body', 'body: PA-MPJPE from events, mm', r'PA-MPJPE: (\d+\.\d+)', most=50),
]


def environment(out: Path, wheels: Path | None) -> dict[str, str]:
    """Variables of the parts: ``python`` is this one, with this checkout and the wheels on its path."""
    interpreter = out / 'bin' / 'python'
    interpreter.parent.mkdir(parents=True, exist_ok=True)
    interpreter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    interpreter.chmod(0o755)
    paths = [str(ROOT)]
    if wheels is not None:
        site = out / 'site'
        files = sorted(map(str, wheels.glob('*.whl')))
        if not files:
            sys.exit(f'--wheels {wheels} has no wheel: python benchmarks/wheels.py {wheels} collects them')
        pip = [sys.executable, '-m', 'pip', 'install', '-q', '--no-index', '--no-deps', '--no-compile', '--upgrade']
        subprocess.run([*pip, '--target', str(site), *files], check=True)
        paths.append(str(site))
    paths += [os.path.abspath(path) for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path]
    return {
        'OMP_NUM_THREADS': '2',
        **os.environ,
        'BIN': str(interpreter.parent),
        'PATH': f'{interpreter.parent}{os.pathsep}{os.environ.get("PATH", "")}',
        'PYTHONPATH': os.pathsep.join(paths),
        'PYTHONUNBUFFERED': '1',
    }


def start(name: str, command: str, part: Part, out: Path, folder: Path, env: dict[str, str]) -> subprocess.Popen:
    with (out / f'{name}.log').open('wb') as log:
        return subprocess.Popen(
            ['bash', '-c', command],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**env, **part.env},
            start_new_session=True,
        )


def wait(process: subprocess.Popen, until: float) -> int | None:
    """Its exit status; None where it had to be stopped, with all that it started.

    As by Ctrl-C first, after which pytest still writes what it has found.
    """
    try:
        return process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        for number, grace in ((signal.SIGINT, 15), (signal.SIGTERM, 5)):
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
                break
        with suppress(ProcessLookupError):  # what the first process did not wait for would slow the next part
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def workplace(out: Path, tiny: bool) -> Path:
    """Where commands run: the checkout, or for --tiny a folder of links to it, whose data are its own."""
    if not tiny:
        return ROOT
    folder = out / 'workplace'
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('benchmarks', 'checkpoints', 'configs', 'mmsvf', 'pyproject.toml', 'tests', 'tools'):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(ROOT / name)
    return folder


def choose(asked: list[str]) -> list[str]:
    """The parts of these names or first words."""
    unknown = [word for word in asked if not any(name == word or name.startswith(f'{word}.') for name in PARTS)]
    if unknown:
        sys.exit(f'no parts {unknown}; choose from {list(PARTS)}, or by first words: right, fast, learns, table6')
    return [name for name in PARTS if any(name == word or name.startswith(f'{word}.') for word in asked)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', default=['right', 'fast', 'learns'], help='names or their first words')
    parser.add_argument('--wheels', type=Path, help='folder of wheels to install first')
    parser.add_argument('--minutes', type=float, default=8.0, help='for all parts together (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs' / 'gpu', help='folder of report.md and logs')
    parser.add_argument('--tiny', action='store_true', help='a rehearsal on a CPU')
    args = parser.parse_args()
    names, out = choose(args.parts), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        for suffix in ('json', 'log'):
            (out / f'{name}.{suffix}').unlink(missing_ok=True)
    (out / 'right.xml').unlink(missing_ok=True)
    env, folder, report = environment(out, args.wheels), workplace(out, args.tiny), Report(out, BARS, args.tiny)
    report.write()
    until = time.monotonic() + args.minutes * 60
    while names:
        together = [name for name in names if PARTS[name].beside] if PARTS[names[0]].beside else names[:1]
        names = [name for name in names if name not in together]
        running = []
        for name in together:
            part, began = PARTS[name], time.monotonic()
            ends = min(until, began + part.minutes * 60 * (10 if args.tiny else 1))
            text = (part.tiny if args.tiny else part.command).format(
                out=shlex.quote(str(out)), name=name, left=f'{max(0.0, ends - began - 20) / 60:.2f}'
            )
            print(f'{name}: {text}', flush=True)
            running.append((name, text, start(name, text, part, out, folder, env), began, ends))
        for name, text, process, began, ends in running:
            code = wait(process, ends)
            output = (out / f'{name}.log').read_text(errors='replace')
            command = text.replace(str(out), 'OUT')
            report.add(name, command, output, time.monotonic() - began, code, PARTS[name].shows)
    table, missed = report.bars()
    print(f'{table}\nreport: {out / "report.md"}')
    if report.failed or missed:
        sys.exit('not as it must be:\n' + '\n'.join([*report.failed, *missed]))


if __name__ == '__main__':
    main()
