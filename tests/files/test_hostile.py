"""Files that would run a command when read: each is refused by whatever reads its kind, and nothing is run."""

import collections
import contextlib
import hashlib
import io
import os
import pathlib
import pickle
import re
import runpy
import struct
import subprocess
import sys
import zipfile

import joblib
import numpy as np
import pytest
import torch

from mmsvf.files import pickles
from mmsvf.files.checkpoints import load_checkpoint

from ..conftest import ROOT
from ..tools import forked
from . import attacks


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
            lambda: pickles.load(file),
            lambda: load_checkpoint(path),
            lambda: pickles.load_joblib(path),
            lambda: mmengine.load(path),
            lambda: read_smpl(path),
        ):
            file.seek(0)
            with pytest.raises(pickle.UnpicklingError):
                read()


@pytest.mark.parametrize('reader', attacks.READERS)
def test_known_attacks(reader, tmp_path):
    """Each through every reader; nothing is run, written or changed."""
    before = attacks.state()
    for name, content in attacks.known(str(tmp_path / 'ran')).items():
        with pytest.raises((pickle.UnpicklingError, ValueError)) as error:
            attacks.READERS[reader](content)
        assert re.search('refused to load|cannot read', str(error.value)), name
        assert attacks.state() == before and not (tmp_path / 'ran').exists(), name


@pytest.mark.filterwarnings('ignore')
def test_mutations():
    """Of 10,000 programs of opcodes none does anything; docs/security.md has the count of those tried by hand."""
    result = attacks.attack(10_000, seed=0)
    assert sum(result.values()) == 10_000
    assert 100 < sum(n for name, n in result.items() if name.endswith(' read')) < 2000, result


@pytest.mark.parametrize('function', [os.system, exec, __import__, open])
def test_the_watch_sees_what_python_runs(function, tmp_path):
    arguments = {open: (str(tmp_path / 'x'), 'w'), __import__: ('this',)}.get(function, ('pass',))
    attacks.sys.modules.pop('this', None)
    with pytest.raises(AssertionError), attacks.watched(), contextlib.redirect_stdout(io.StringIO()):
        pickle.loads(pickle.dumps(Call(function, *arguments)))


def test_the_watch_sees_what_a_file_changes(monkeypatch):
    before = attacks.state()
    monkeypatch.setattr(attacks.values.History, 'state', {}, raising=False)
    assert attacks.state() != before


def test_a_zip_with_two_directories(command, tmp_path):
    """What torch's reader and Python's find in it differs: torch's alone decides."""
    program, weights = tmp_path / 'program.pt', io.BytesIO()
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(program))
    torch.save({'x': torch.ones(1)}, weights)
    for first, second in ((program.read_bytes(), weights.getvalue()), (weights.getvalue(), program.read_bytes())):
        path = tmp_path / 'both.pth'
        path.write_bytes(first + second)
        try:
            found = load_checkpoint(path)
        except pickle.UnpicklingError:
            continue
        assert list(found) == ['x']


def test_a_config_in_a_checkpoint_is_not_run(command, tmp_path):
    """By the inferencers, which take it if they are given weights alone, and a resumed training of the old format."""
    from mmaction.apis import ActionRecogInferencer
    from mmengine.config import Config

    program = f'import os; os.system({command!r})'
    for text in (program, f'model = dict(type="os.system", command={command!r})\n'):
        meta = dict(cfg=text, config=text)
        torch.save(dict(meta=meta, state_dict={}, message_hub=dict(runtime_info=dict(cfg=text))), tmp_path / 'x.pth')
        with pytest.raises(pickle.UnpicklingError, match='is a program, and is not run'):
            ActionRecogInferencer(None, weights=str(tmp_path / 'x.pth'), device='cpu')
        load_checkpoint(tmp_path / 'x.pth')
        with pytest.raises(pickle.UnpicklingError, match='is not run'):
            Config.fromstring(text, file_format='.py')
    assert Config.fromstring('a = 1\n', file_format='.py').a == 1


def test_yaml_by_mmengine(command, tmp_path):
    import mmengine

    (tmp_path / 'x.yml').write_text(f'x: !!python/object/apply:os.system ["{command}"]\n')
    with pytest.raises(Exception, match='could not determine a constructor'):
        mmengine.load(tmp_path / 'x.yml')
    (tmp_path / 'x.yml').write_text('x: [1, 2.5, a]\n')
    assert mmengine.load(tmp_path / 'x.yml') == dict(x=[1, 2.5, 'a'])


def test_mmengine_names_the_file(command, tmp_path):
    import mmengine

    path = tmp_path / 'annotations.pkl'
    path.write_bytes(PICKLES['shell'](command))
    for load in (mmengine.load, mmengine.fileio.load):
        with pytest.raises(pickle.UnpicklingError, match=r'annotations\.pkl.*posix\.system'):
            load(path)


def test_objects_of_numpy(command, tmp_path):
    """As H3WB's annotations have them."""
    np.savez(tmp_path / 'x.npz', good=np.array({'a': np.ones(2)}), plain=np.arange(3))
    found = pickles.load_numpy(tmp_path / 'x.npz', allow_pickle=True)
    assert found['good'].item()['a'].tolist() == [1, 1] and found['plain'].tolist() == [0, 1, 2]
    np.savez(tmp_path / 'x.npz', bad=np.array([Call(os.system, command)], dtype=object))
    with pytest.raises(pickle.UnpicklingError, match=r'x\.npz: bad\.npy.*posix\.system'):
        pickles.load_numpy(tmp_path / 'x.npz')
    from mmpose.datasets.datasets.wholebody3d import h3wb_dataset

    with pytest.raises(pickle.UnpicklingError):
        h3wb_dataset.np.load(str(tmp_path / 'x.npz'), allow_pickle=True)


@pytest.mark.parametrize(('index', 'pointer'), [(10**9, None), (-1, None), (0, 10**6), (0, -5)])
def test_sparse_matrices_that_point_out_of_themselves(index, pointer, tmp_path):
    import scipy.sparse

    from mmsvf.body.smpl_files import read_smpl

    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = index
    if pointer is not None:
        matrix.indptr[1] = pointer
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps({'J_regressor': matrix, 'v_template': np.ones((3, 3))}))
    with pytest.raises(pickle.UnpicklingError, match=r'cannot read .*x\.pkl'):
        read_smpl(tmp_path / 'x.pkl')


def test_a_hash_in_the_name_is_compared(tmp_path):
    stored = io.BytesIO()
    torch.save({'x': torch.ones(1)}, stored)
    digest = hashlib.sha256(stored.getvalue()).hexdigest()[:8]
    for name in (f'model-{digest}.pth', 'model-20261125.pth', 'model-3.pth'):
        (tmp_path / name).write_bytes(stored.getvalue())
        assert list(load_checkpoint(tmp_path / name)) == ['x']
    (tmp_path / 'model-0123abcd.pth').write_bytes(stored.getvalue())
    with pytest.raises(pickle.UnpicklingError, match=rf'begins with {digest}, its name says 0123abcd'):
        load_checkpoint(tmp_path / 'model-0123abcd.pth')


class Rebuilt(Call):
    """A tensor with attributes."""

    def __init__(self, state, *arguments):
        size = (torch.ones(2).storage(), 0, (2,), (1,), False, collections.OrderedDict())
        super().__init__(
            torch._tensor._rebuild_from_type_v2, torch._utils._rebuild_tensor_v2, torch.Tensor, size, state
        )


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    'value',
    [
        Rebuilt({'n': np.dtype}),
        Rebuilt({'cpu': getattr}),
        Rebuilt({'_backward_hooks': collections.OrderedDict([(1, torch.Size)])}),
        torch.sparse_coo_tensor(torch.tensor([[10**9]]), torch.tensor([1.0]), (10**9 + 1,)),
        Call(
            torch._utils._rebuild_sparse_tensor,
            torch.sparse_coo,
            (torch.tensor([[10**9]]), torch.tensor([1.0]), torch.Size([2]), True),
        ),
    ],
    ids=['stand-in', 'method', 'hooks', 'sparse', 'sparse beyond its size'],
)
def test_tensors_are_dense_and_have_no_attributes(value, tmp_path):
    """Attributes would outlive the reading, and be written into the next checkpoint."""
    torch.save({'x': [value]}, tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError, match=r'refused to load .*x\.pth: a tensor that is sparse|cannot read'):
        load_checkpoint(tmp_path / 'x.pth')


def test_a_damaged_file_is_not_believed(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'x': torch.ones(1000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # of a number
    path.write_bytes(content)
    assert list(torch.load(path)) == ['x'], 'torch does not look'
    with pytest.raises(pickle.UnpicklingError, match=r'cannot read .*x\.pth: it is damaged, .*another checksum'):
        load_checkpoint(path)


def test_no_message_recommends_to_run_the_file(tmp_path):
    for number, value in enumerate([np.zeros(1, dtype=[('a', 'f4')]), np.array(['2026'], 'M8[s]'), pathlib.Path('x')]):
        torch.save({'x': value}, tmp_path / f'{number}.pth')
        with pytest.raises(pickle.UnpicklingError) as error:
            load_checkpoint(tmp_path / f'{number}.pth')
        assert 'weights_only' not in str(error.value) and f'{number}.pth' in str(error.value)


def test_an_import_that_is_tried_again_is_safe_too(command, tmp_path):
    code = (
        'import sys, mmsvf, mmengine; n = "mmengine.fileio.handlers.pickle_handler"; sys.modules.pop(n)\n'
        'import importlib; m = importlib.import_module(n); print(type(m.pickle).__name__)'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == 'Overlay', result.stderr


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError, match='no regular file'):
        load_checkpoint(tmp_path / 'x.pth')


def checkpoint(command, tmp_path):
    torch.save({'state_dict': {'w': Call(os.system, command)}}, tmp_path / 'x.pth')
    return load_checkpoint, tmp_path / 'x.pth'


def old_checkpoint(command, tmp_path):
    torch.save([Call(os.system, command)], tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    return load_checkpoint, tmp_path / 'x.pth'


def checkpoint_in_a_checkpoint(command, tmp_path):
    inner = io.BytesIO()
    torch.save(Call(os.system, command), inner)
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(Call(torch.storage._load_from_bytes, inner.getvalue())))
    return load_checkpoint, tmp_path / 'x.pkl'


def program(command, tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / 'x.pt'))
    return load_checkpoint, tmp_path / 'x.pt'


def array_of_objects(command, tmp_path):
    joblib.dump(np.array([Call(os.system, command)], dtype=object), tmp_path / 'x.pkl')
    return pickles.load_joblib, tmp_path / 'x.pkl'


def compressed_joblib(command, tmp_path):
    joblib.dump([Call(os.system, command)], tmp_path / 'x.pkl', compress=3)
    return pickles.load_joblib, tmp_path / 'x.pkl'


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
    from mmsvf.analysis.ablation import choose

    (tmp_path / 'rows.yml').write_text(f'base: !!python/object/apply:os.system ["{command}"]\n')
    return lambda path: choose(path, None), tmp_path / 'rows.yml'


def archive_out_of_its_folder(command, tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('../ran', 'x')
    return load_checkpoint, tmp_path / 'x.pth'


FILES = [checkpoint, old_checkpoint, checkpoint_in_a_checkpoint, program, array_of_objects, compressed_joblib]
FILES += [events_of_objects, body_of_objects, yaml_tag, archive_out_of_its_folder]


@pytest.mark.parametrize('make', FILES)
def test_files(make, command, tmp_path):
    read, path = make(command, tmp_path)
    with pytest.raises(Exception, match=r'(?i)refused|pickle|could not determine a constructor|cannot read'):
        read(path)


def test_the_tools_load_nothing_hostile(command, tmp_path, digits):
    torch.save({'state_dict': {}, 'meta': Call(os.system, command)}, tmp_path / 'x.pth')
    argv = ['configs/demo/svf_moving_digits.py', str(tmp_path / 'x.pth'), '--work-dir', str(tmp_path)]
    argv += ['--cfg-options', f'test_dataloader.dataset.ann_file={digits / "val.txt"}']
    argv += [f'test_dataloader.dataset.data_prefix.video={digits / "val"}']
    code, _, error = forked.run(ROOT / 'tools' / 'test.py', argv, ROOT, os.environ, tmp_path)
    assert code != 0 and 'posix.system' in error, error[-2000:]


def test_harmless_annotations_are_read(tmp_path):
    import mmengine

    content = {'split': {'train': ['a']}, 'annotations': [{'keypoint': np.ones((1, 2), np.float16), 'label': 3}]}
    mmengine.dump(content, tmp_path / 'x.pkl')
    assert mmengine.load(tmp_path / 'x.pkl')['annotations'][0]['keypoint'].tolist() == [[1, 1]]


def test_files_may_be_left_to_mmengine():
    """MMSVF_STOCK_FILES=1: the stand-ins that let packages import stay, MMEngine's readers and writers are its own."""
    code = (
        'import mmsvf, mmengine.runner.checkpoint as c, mmengine.hooks.checkpoint_hook as h, mmengine.fileio.io as io\n'
        'from mmengine.registry import MODELS\n'
        'assert MODELS.get("mmsvf.SpikeVideoFormer") is not None\n'
        'print(type(c.torch).__name__, c.save_checkpoint.__module__, io.load.__module__, hasattr(h, "WorkDirLock"))'
    )
    printed = {}
    for value in ('0', '1'):
        env = {**os.environ, 'MMSVF_STOCK_FILES': value}
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=True)
        printed[value] = done.stdout.split()[:3]
    assert printed['1'] == ['module', 'mmengine.runner.checkpoint', 'mmengine.fileio.io']
    assert printed['0'] == ['Overlay', 'mmsvf.files.bridges', 'mmsvf.files.bridges']
