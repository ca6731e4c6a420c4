"""Files that would run a command when read: each is refused by whatever reads its kind, and nothing is run."""

import io
import os
import pickle
import runpy
import struct
import subprocess
import sys
import zipfile

import joblib
import numpy as np
import pytest
import torch

from mmsvf import safe_pickle

from .conftest import ROOT


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class State:
    """Pickles as an object of a harmless class whose state is set by a call."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return dict, (), None, None, iter([(self.inner, 1)])


def protocol_4(module, name, argument):
    """A pickle of protocol 4 that names an attribute of an attribute, which older protocols cannot."""

    def text(value):
        return b'\x8c' + struct.pack('<B', len(value)) + value.encode()

    return b'\x80\x04' + text(module) + text(name) + b'\x93' + text(argument) + b'\x85R.'


PICKLES = {
    'shell': lambda command: pickle.dumps(Call(os.system, command)),
    'subprocess': lambda command: pickle.dumps(Call(subprocess.Popen, ['sh', '-c', command])),
    'eval': lambda command: pickle.dumps(Call(eval, f'__import__("os").system({command!r})')),
    'exec': lambda command: pickle.dumps(Call(exec, f'import os; os.system({command!r})')),
    'python_2': lambda command: (
        b"c__builtin__\neval\n(S'" + f'__import__("os").system("{command}")'.encode() + b"'\ntR."
    ),
    'run_module': lambda command: pickle.dumps(Call(runpy.run_path, '/dev/stdin')),
    'dotted_name': lambda command: protocol_4('torch', 'os.system', command),
    'dotted_allowed': lambda command: protocol_4('numpy', 'ndarray.tofile', command),
    'key_of_a_dict': lambda command: pickle.dumps(State(Call(os.system, command))),
    'import': lambda command: pickle.dumps(Call(__import__, 'antigravity')),
    'numpy_loader': lambda command: pickle.dumps(Call(np.load, '/etc/hostname', None, True)),
    'torch_loader': lambda command: pickle.dumps(Call(torch.load, '/etc/hostname')),
    'extension': lambda command: pickle.dumps(Call(np.ctypeslib.load_library, 'libc', '/lib')),
    'file': lambda command: pickle.dumps(Call(open, command.split()[-1], 'w')),
}


@pytest.fixture(autouse=True, scope='module')
def whole_mmengine():
    import mmengine.runner  # noqa: F401  (parts of it are missing until then)


@pytest.fixture
def command(tmp_path):
    marker = tmp_path / 'ran'
    yield f'touch {marker}'
    assert not marker.exists(), 'the file was run'


@pytest.mark.parametrize('kind', PICKLES)
def test_pickles(kind, command, tmp_path):
    """By our readers and, with mmsvf imported, by MMEngine's reader of annotations."""
    path = tmp_path / 'file.pkl'
    path.write_bytes(PICKLES[kind](command))
    import mmengine

    from mmsvf.body.smpl_files import read_smpl

    with path.open('rb') as file:
        for read in (
            lambda: safe_pickle.load(file),
            lambda: safe_pickle.load_checkpoint(path),
            lambda: safe_pickle.load_joblib(path),
            lambda: mmengine.load(path),
            lambda: read_smpl(path),
        ):
            file.seek(0)
            with pytest.raises(pickle.UnpicklingError):
                read()


def checkpoint(command, tmp_path):
    torch.save({'state_dict': {'w': Call(os.system, command)}}, tmp_path / 'x.pth')
    return safe_pickle.load_checkpoint, tmp_path / 'x.pth'


def old_checkpoint(command, tmp_path):
    torch.save([Call(os.system, command)], tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    return safe_pickle.load_checkpoint, tmp_path / 'x.pth'


def checkpoint_in_a_checkpoint(command, tmp_path):
    inner = io.BytesIO()
    torch.save(Call(os.system, command), inner)
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(Call(torch.storage._load_from_bytes, inner.getvalue())))
    return safe_pickle.load_checkpoint, tmp_path / 'x.pkl'


def program(command, tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / 'x.pt'))
    return safe_pickle.load_checkpoint, tmp_path / 'x.pt'


def array_of_objects(command, tmp_path):
    joblib.dump(np.array([Call(os.system, command)], dtype=object), tmp_path / 'x.pkl')
    return safe_pickle.load_joblib, tmp_path / 'x.pkl'


def compressed_joblib(command, tmp_path):
    joblib.dump([Call(os.system, command)], tmp_path / 'x.pkl', compress=3)
    return safe_pickle.load_joblib, tmp_path / 'x.pkl'


def events_of_objects(command, tmp_path):
    from mmsvf.datasets.event_transforms import LoadEvents

    x = np.array([Call(os.system, command)], dtype=object)
    np.savez(tmp_path / 'x.npz', x=x, y=np.zeros(1), t=np.zeros(1), p=np.zeros(1))
    return lambda path: LoadEvents().transform(dict(filename=str(path))), tmp_path / 'x.npz'


def body_of_objects(command, tmp_path):
    from mmsvf.body.smpl_files import read_smpl

    np.savez(tmp_path / 'x.npz', v_template=np.array([Call(os.system, command)], dtype=object))
    return read_smpl, tmp_path / 'x.npz'


def yaml_tag(command, tmp_path):
    ablate = runpy.run_path(str(ROOT / 'tools' / 'analysis' / 'ablate.py'))
    (tmp_path / 'rows.yml').write_text(f'base: !!python/object/apply:os.system ["{command}"]\n')
    return lambda path: ablate['choose'](path, None), tmp_path / 'rows.yml'


def archive_out_of_its_folder(command, tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('../ran', 'x')
    return safe_pickle.load_checkpoint, tmp_path / 'x.pth'


FILES = [checkpoint, old_checkpoint, checkpoint_in_a_checkpoint, program, array_of_objects, compressed_joblib]
FILES += [events_of_objects, body_of_objects, yaml_tag, archive_out_of_its_folder]


@pytest.mark.parametrize('make', FILES)
def test_files(make, command, tmp_path):
    read, path = make(command, tmp_path)
    with pytest.raises(Exception, match=r'(?i)refused|pickle|could not determine a constructor|cannot read'):
        read(path)


def test_the_tools_load_nothing_hostile(command, tmp_path, digits):
    torch.save({'state_dict': {}, 'meta': Call(os.system, command)}, tmp_path / 'x.pth')
    argv = ['tools/test.py', 'configs/demo/svf_moving_digits.py', str(tmp_path / 'x.pth'), '--work-dir', str(tmp_path)]
    argv += ['--cfg-options', f'test_dataloader.dataset.ann_file={digits / "val.txt"}']
    argv += [f'test_dataloader.dataset.data_prefix.video={digits / "val"}']
    result = subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode != 0 and 'posix.system' in result.stderr, result.stderr[-2000:]


def test_harmless_annotations_are_read(tmp_path):
    import mmengine

    content = {'split': {'train': ['a']}, 'annotations': [{'keypoint': np.ones((1, 2), np.float16), 'label': 3}]}
    mmengine.dump(content, tmp_path / 'x.pkl')
    assert mmengine.load(tmp_path / 'x.pkl')['annotations'][0]['keypoint'].tolist() == [[1, 1]]
