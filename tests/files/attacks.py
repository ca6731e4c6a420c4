"""Attacks on the readers of files: known ones, and random programs of pickle's opcodes; run by hand for many of them.

    python tests/files/attacks.py COUNT [SEED]

An audit hook watches what Python does while a file is read. Nothing but reading the file itself may happen.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from mmsvf.body.smpl_files import read_smpl
from mmsvf.files import allowed, pickles, values
from mmsvf.files.checkpoints import load_checkpoint

HARMLESS = ('pickle.find_class', 'object.__', 'sys._getframe', 'array.__new__', 'marshal.', 'builtins.id', 'gc.')
_watching = False
_seen: list[str] = []


def _audit(event: str, arguments: tuple) -> None:
    if not _watching or event.startswith(HARMLESS):
        return
    if event == 'open' and not (set(str(arguments[1] or 'r')) & set('wax+')) and not (arguments[2] or 0) & 0o1103:
        return
    if event == 'import' and str(arguments[0]).startswith('encodings.'):
        return  # of a codec that a text names
    if event in ('tempfile.mkstemp', 'os.listdir', 'os.scandir'):
        return
    _seen.append(f'{event} {str(arguments)[:200]}')


sys.addaudithook(_audit)


@contextmanager
def watched():
    """Fails if something was run, written or imported meanwhile."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert not _seen, _seen


def state() -> dict[str, object]:
    """What a file must not change: the stand-ins, their functions, and the classes they become."""
    from mmengine.logging.history_buffer import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    owners = [v for v in vars(values).values() if isinstance(v, type)]
    owners += [HistoryBuffer, OneCycleParamScheduler, collections.OrderedDict, collections.Counter, torch.Tensor]
    owners += [torch.UntypedStorage, torch.storage.TypedStorage, torch.nn.Parameter]
    found: dict[str, object] = {}
    for owner in owners:
        found.update(
            {f'{owner.__name__}.{k}': id(v) for k, v in vars(owner).items() if k != '__slotnames__'}
        )  # copyreg's

    found['statistics'] = dict(HistoryBuffer._statistics_methods)
    for name, function in allowed.PICKLE.items():
        if isinstance(function, values.Function):
            call = function._call
            found[name] = id(call), getattr(call, '__defaults__', 0), str(getattr(call, '__dict__', 0))
    return found


def archive(pickled: bytes) -> io.BytesIO:
    """A checkpoint whose pickle is another one."""
    plain, out = io.BytesIO(), io.BytesIO()
    torch.save({'x': torch.ones(4)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(out, 'w') as target:
        for name in source.namelist():
            target.writestr(name, pickled if name.endswith('data.pkl') else source.read(name))
    out.seek(0)
    return out


def legacy(pickled: bytes) -> io.BytesIO:
    """The same in the format of torch before 1.6: magic number, protocol, system, content, storage keys."""
    head = [0x1950A86A20F9469CFC6C, 1001, dict(protocol_version=1001, little_endian=True, type_sizes={})]
    return io.BytesIO(b''.join(pickle.dumps(x, 2) for x in head) + pickled + pickle.dumps([], 2))


def named(read):
    """A reader of paths as a reader of bytes."""

    def reader(content: bytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'x.pkl')
            path.write_bytes(content)
            with watched():
                return read(path)

    return reader


def in_memory(read):
    def reader(content: bytes):
        with watched():
            return read(content)

    return reader


def mmengine_load(path: Path):
    import mmengine

    return mmengine.load(path)


READERS = {
    'pickle': in_memory(lambda content: pickles.load(io.BytesIO(content))),
    'python 2': in_memory(lambda content: pickles.load(io.BytesIO(content), encoding='latin1')),
    'checkpoint': in_memory(lambda content: load_checkpoint(archive(content))),
    'old checkpoint': in_memory(lambda content: load_checkpoint(legacy(content))),
    'joblib': named(pickles.load_joblib),
    'smpl': named(read_smpl),
    'mmengine': named(mmengine_load),
}


def short(text: str) -> bytes:
    return b'\x8c' + struct.pack('<B', len(text)) + text.encode()


def named_global(path: str) -> bytes:
    module, name = path.rsplit('.', 1)
    return f'c{module}\n{name}\n'.encode()


def known(marker: str) -> dict[str, bytes]:
    """Attacks that once worked, and their neighbours; each would make the file ``marker``."""
    command = f'touch {marker}'
    take = named_global('mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler')
    history, attribute = named_global('mmengine.logging.history_buffer.HistoryBuffer'), named_global('builtins.getattr')
    text = lambda t: b'X' + struct.pack('<I', len(t)) + t.encode()  # noqa: E731
    dictionary = lambda **kw: b'}(' + b''.join(text(k) + v for k, v in kw.items()) + b'u'  # noqa: E731
    shared = dictionary(module=text('os'), owner=text('system'), methods=b'](' + text('__call__') + b'e')
    call = attribute + b'(' + take + text('__call__') + b'tR(' + text(command) + b'tR.'
    storage = named_global('torch.storage.UntypedStorage')
    found = {
        'state of the shared owner': b'\x80\x02' + take + shared + b'b0' + call,
        'slots of the shared owner': b'\x80\x02' + take + b'N' + shared + b'\x86b0' + call,
        'state of getattr': b'\x80\x02' + attribute + dictionary(_call=take) + b'b0' + call,
        'slots of getattr': b'\x80\x02' + attribute + b'N' + dictionary(_call=take) + b'\x86b0' + call,
        'module of a class': (
            b'\x80\x02' + storage + b'N' + dictionary(__module__=text('mmengine.logging.history_buffer')) + b'\x86b0'
            + attribute + b'(' + storage + text('from_file') + b'tR(' + text(marker) + b'\x88K\x08tR.'
        ),
        'methods of a history': b'\x80\x02' + attribute + b'(' + history + text('__init__') + b'tR.',
        'globals of a function': b'\x80\x02' + attribute + b'(' + attribute + text('__globals__') + b'tR.',
        'class of an instance': (
            b'\x80\x02' + history + b')\x81' + dictionary(__class__=take, __setstate__=attribute) + b'b.'
        ),
        'reconstructor': (
            named_global('copyreg._reconstructor') + b'(' + named_global('numpy.ndarray')
            + named_global('numpy.ndarray') + b'NtR.'
        ),
        'rebuild from any function': (
            b'\x80\x02' + named_global('torch._tensor._rebuild_from_type_v2') + b'(' + attribute + history
            + b'(' + history + text('mean') + b't}tR.'
        ),
        'fields beyond an array': (
            b'\x80\x02' + named_global('numpy.dtype') + b'(' + text('V8') + b'\x89\x88tR.'
        ),
        'extension': b'\x80\x02\x82\x01.',
        'persistent': b'Pos.system\n.',
        'inst': b'(S\'' + command.encode() + b"'\nios\nsystem\n.",
        'obj': b'(' + named_global('os.system') + text(command) + b'o.',
        'stack global': b'\x80\x04' + short('os') + short('system') + b'\x93' + short(command) + b'\x85R.',
        'dotted': b'\x80\x04' + short('numpy') + short('ndarray.tofile') + b'\x93.',
    }  # fmt: skip
    for name, function in dict(system=os.system, popen=subprocess.Popen, eval=eval, imports=__import__).items():
        bomb = type('Bomb', (), {'__reduce__': lambda self, f=function: (f, (command,))})()
        found |= {f'{name} in protocol {protocol}': pickle.dumps([bomb], protocol) for protocol in range(6)}
    return found


def harmless() -> list[bytes]:
    """Good pickles of all protocols, from which the mutations start."""
    from mmengine.logging import HistoryBuffer

    history = HistoryBuffer()
    history.update(1.5)
    content = dict(
        array=np.arange(6.0).reshape(2, 3), text=np.array(['ab']), objects=np.array([{'a': 1}, None], object),
        scalar=np.float64(2), tensor=torch.ones(2, 3), parameter=torch.nn.Parameter(torch.ones(2)), kinds={1, 2},
        raw=b'\xff', order=collections.OrderedDict(a=[1, (2, 3)]), slice=slice(1), number=1j,
    )  # fmt: skip
    found = [pickle.dumps(content, protocol) for protocol in range(6)]
    found += [pickle.dumps(history, protocol) for protocol in range(4)]
    stored = io.BytesIO()
    torch.save({'hub': {'loss': history}, 'n': np.float64(1), 'a': np.ones(3), 's': {1}, 'c': 1j}, stored)
    with zipfile.ZipFile(stored) as source:
        found.append(source.read(next(n for n in source.namelist() if n.endswith('data.pkl'))))
    return found


def pieces(pickled: bytes) -> list[bytes]:
    """The opcodes of a pickle, each with its argument."""
    try:
        starts = [position for _, _, position in pickletools.genops(pickled)]
    except Exception:
        return [pickled]
    return [pickled[a:b] for a, b in zip(starts, [*starts[1:], len(pickled)])]


WORDS = ['__setstate__', '__class__', '__globals__', '__module__', '__dict__', '__init__', '__call__', 'mean', 'system']
WORDS += [
    '_annealing_cos',
    'os',
    'from_file',
    'latin1',
    'rot13',
    'f8',
    'O',
    'V8',
    '_call',
    'real',
    'state',
    '__reduce__',
]
NAMES = [*allowed.PICKLE, 'os.system', 'builtins.eval', 'builtins.type', 'torch.UntypedStorage', 'torch.Tensor']
NAMES += ['torch.storage.TypedStorage', 'torch._tensor._rebuild_from_type_v2', 'torch._utils._rebuild_parameter']
NAMES += [
    'torch.FloatStorage',
    'torch.nn.parameter.Parameter',
    'collections.Counter',
    'joblib.numpy_pickle.NumpyArrayWrapper',
]
NAMES += [
    'chumpy.ch.Ch',
    'scipy.sparse.csc.csc_matrix',
    'torch._utils._rebuild_sparse_tensor',
    'torch.device',
    'torch.Size',
]


def program(draw: random.Random, count: int) -> list[bytes]:
    """Random opcodes that are likely to find on the stack what they take from it."""
    small = [
        b'N',
        b'K\x01',
        b'K\x00',
        b')',
        b'}',
        b']',
        b'\x88',
        b'\x89',
        b'C\x01b',
        b'M\x00\x10',
        b'G\x7f\xf0' + bytes(6),
    ]

    def value(depth: int = 0) -> list[bytes]:
        kind = draw.random()
        if kind < 0.3:
            name = draw.choice(NAMES)
            module, attribute = name.rsplit('.', 1)
            return [named_global(name)] if draw.random() < 0.8 else [short(module), short(attribute), b'\x93']
        if kind < 0.5:
            text = draw.choice(WORDS)
            return [b'X' + struct.pack('<I', len(text)) + text.encode()]
        if kind < 0.7 or depth > 3:
            return [draw.choice(small)]
        if kind < 0.85:
            return [b'(', *(p for _ in range(draw.randint(0, 4)) for p in value(depth + 1)), b't']
        items = (p for _ in range(draw.randint(1, 3)) for p in [*value(9), *value(depth + 1)])
        return [b'}', b'(', *items, b'u']

    out = value()
    for _ in range(count):
        kind = draw.random()
        if kind < 0.35:
            out += [*value(), draw.choice([b'R', b'\x81', b'b', b'b', b'\x85R', b'\x85\x81'])]
        elif kind < 0.5:
            out += [b'N', *value(), b'\x86', b'b']
        elif kind < 0.6:
            out += [b'(', *value(), *value(), draw.choice([b'o', b'e', b'\x90', b'u', b't', b'l', b'd', b'\x91'])]
        elif kind < 0.75:
            out.append(draw.choice([b'q\x00', b'q\x01', b'h\x00', b'h\x01', b'0', b'2', b'\x94']))
        elif kind < 0.8:
            out.append(draw.choice([b'\x82\x01', b'Pstorage\n', b'Q', b'ios\nsystem\n', b'\x97', b'\x98', b'1']))
        else:
            out += value()
    return out


def mutation(draw: random.Random, seeds: list[list[bytes]]) -> bytes:
    """A changed, crossed or invented pickle."""
    if draw.random() < 0.4:
        return b'\x80' + bytes([draw.choice([2, 2, 4])]) + b''.join(program(draw, draw.randint(1, 12))) + b'.'
    parts = list(draw.choice(seeds))
    for _ in range(draw.randint(1, 4)):
        kind, at = draw.random(), draw.randrange(len(parts))
        if kind < 0.3:
            parts[at:at] = program(draw, draw.randint(1, 4))
        elif kind < 0.5:
            other = draw.choice(seeds)
            start = draw.randrange(len(other))
            parts[at:at] = other[start : start + draw.randint(1, 12)]
        elif kind < 0.65:
            del parts[at : at + draw.randint(1, 3)]
            parts = parts or [b'.']
        elif kind < 0.8:
            parts.insert(at, parts[draw.randrange(len(parts))])
        else:
            changed = bytearray(parts[at])
            if changed:
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            if changed[:1] not in (b'r', b'j'):  # an index into the memo reserves as much memory as it says
                parts[at] = bytes(changed)
    return b''.join(parts)


def attack(count: int, seed: int) -> dict[str, int]:
    """Read mutations with all readers, in turn; how many each took as data, and how many it refused."""
    warnings.simplefilter('ignore')  # torch's, of protocols
    draw = random.Random(seed)
    seeds = [pieces(p) for p in [*harmless(), *known('/nowhere/ran').values()]]
    for content in harmless():  # what is imported on first use is imported now
        for read in READERS.values():
            with suppress(pickle.UnpicklingError, ValueError, AssertionError):
                read(content)
    before, result = state(), collections.Counter()
    weights = [8, 4, 8, 4, 2, 2, 1]
    for number in range(count):
        content = mutation(draw, seeds)
        name = draw.choices(list(READERS), weights)[0]
        try:
            READERS[name](content)
            result[f'{name} read'] += 1
        except (pickle.UnpicklingError, ValueError, MemoryError):
            result[f'{name} refused'] += 1
        except AssertionError as error:
            raise AssertionError(f'{name}: {error}: {content!r}') from error
        if number % 500 == 0 or number == count - 1:
            assert state() == before, f'something has changed, seed {seed}, up to {number}'
    return dict(result)


if __name__ == '__main__':
    print(attack(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
