"""Nothing is lost: a full disk, a folder that cannot be written, a diverged loss, a half-written file."""

import errno
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

import mmsvf.files.checkpoints
from mmsvf.engine import launch
from mmsvf.engine.hooks.finite_hook import SCALER_STEPS, FiniteHook, gradient_norm
from mmsvf.engine.launch import add_training_safeguards
from mmsvf.engine.run_config import check_work_dir
from mmsvf.files.checkpoints import PARTIAL, load_checkpoint, save_checkpoint
from mmsvf.files.work_dir import find_latest_checkpoint
from tests.conftest import ROOT

TINY = dict(embed_dims=(8, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1))


def runner(digits, work_dir, epochs=2, before=None, **changes):
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py')
    for part, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        loader.dataset.update(ann_file=str(digits / f'{split}.txt'), data_prefix=dict(video=str(digits / split)))
        loader.dataset.indices = 4
    cfg.model.backbone.arch = TINY
    cfg.model.cls_head.in_channels = 8
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler = []
    # what is logged goes to the first of the runs of a name and a second
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{work_dir.parent.name}_{work_dir.name}'
    cfg.visualizer.vis_backends = []
    cfg.merge_from_dict(before or {})
    add_training_safeguards(cfg, work_dir / 'unreadable.txt')
    cfg.merge_from_dict(changes)
    return Runner.from_cfg(cfg)


def test_a_checkpoint_is_there_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    save_checkpoint(dict(x=torch.ones(3)), path)

    def full(checkpoint, file):
        file.write(b'half of it')
        raise RuntimeError('PytorchStreamWriter failed writing file data/0: file write failed')

    monkeypatch.setattr(mmsvf.files.checkpoints.torch, 'save', full)
    with pytest.raises(OSError, match=r'epoch_1\.pth could not be written .*MiB are free.*--resume'):
        save_checkpoint(dict(x=torch.zeros(3)), path)
    assert load_checkpoint(path)['x'].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']


def test_the_old_checkpoint_outlives_a_failed_new_one(digits, tmp_path, monkeypatch):
    """With max_keep_ckpts=1, and for the best one, too."""
    keep = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    training = runner(digits, tmp_path / 'run', epochs=3, **keep)
    save, folder = torch.save, tmp_path / 'run'

    def fills(checkpoint, file):
        if checkpoint['meta']['epoch'] >= 3:
            raise OSError(errno.ENOSPC, 'No space left on device')
        save(checkpoint, file)

    monkeypatch.setattr(mmsvf.files.checkpoints.torch, 'save', fills)
    with pytest.raises(OSError, match='No space left on device'):
        training.train()
    assert load_checkpoint(folder / 'epoch_2.pth')['meta']['epoch'] == 2
    assert len(list(folder.glob('best_*.pth'))) == 1 and not list(folder.glob(f'*{PARTIAL}'))
    assert not (folder / 'epoch_1.pth').exists(), 'max_keep_ckpts is kept'


def test_a_checkpoint_cannot_have_other_files_removed(digits, tmp_path):
    """It says which best checkpoint goes when there is a better one: any path, as far as MMEngine is concerned."""
    folder, precious = tmp_path / 'run', tmp_path / 'thesis.txt'
    runner(digits, folder, epochs=1).train()
    precious.write_text('x')
    content = load_checkpoint(folder / 'epoch_1.pth')
    found = content['message_hub']['runtime_info']
    assert 'best_ckpt' in found, 'MMEngine reads it from there'
    found.update(best_ckpt=str(precious), best_score=-1.0, keep_ckpt_ids=list(range(2, 20)))
    save_checkpoint(content, folder / 'epoch_9.pth')
    save_checkpoint(content, folder / 'epoch_1.pth')
    keep = {'default_hooks.checkpoint.max_keep_ckpts': 2, 'load_from': str(folder / 'epoch_1.pth')}
    runner(digits, folder, epochs=2, resume=True, **keep).train()
    assert precious.exists() and (folder / 'epoch_2.pth').exists() and (folder / 'epoch_9.pth').exists()
    assert 'thesis.txt is no checkpoint of' in ''.join(path.read_text() for path in folder.rglob('*.log'))


def test_too_little_room_is_said_before_training(digits, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=1000))
    training = runner(digits, tmp_path / 'run')
    with pytest.raises(OSError, match=r'0\.0 MiB are free in .*run, and the weights alone take'):
        training.train()
    assert training.iter == 0


def test_a_work_dir_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r"work-dir '.*/file/run' .*--work-dir"):
        check_work_dir(str(tmp_path / 'file' / 'run'))
    check_work_dir(str(tmp_path / 'new'))
    assert not list((tmp_path / 'new').iterdir())


def test_a_nan_loss_stops_before_the_checkpoint(digits, tmp_path):
    """With iteration, files and the last good checkpoint, which stays."""
    training = runner(digits, tmp_path / 'run', epochs=3)
    loss = training.model.cls_head.loss

    def diverges(*args, **kwargs):
        found = loss(*args, **kwargs)
        return {k: v * float('nan') if training.epoch == 1 and 'loss' in k else v for k, v in found.items()}

    training.model.cls_head.loss = diverges
    with pytest.raises(RuntimeError) as error:
        training.train()
    message = str(error.value)
    assert 'loss=nan' in message and 'iteration 2 (epoch 2)' in message and "['cls_head.fc.bias'," in message
    lines = (digits / 'train.txt').read_text().splitlines()[:4]
    assert all(str(digits / 'train' / line.split()[0]) in message for line in lines), message
    assert f'the last good checkpoint is {tmp_path / "run" / "epoch_1.pth"}' in message
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()


def test_weights_that_are_not_finite_are_not_saved(digits, tmp_path):
    class Poison(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.epoch == 1:
                runner.model.cls_head.fc.weight.data[0, 0] = float('inf')

    training = runner(digits, tmp_path / 'run', epochs=2)
    training.register_hook(Poison(), 'NORMAL')
    with pytest.raises(RuntimeError, match=r"1 of \d+ tensors .* iteration 2.*\['cls_head\.fc\.weight'.*epoch_1\.pth"):
        training.train()
    assert Path(find_latest_checkpoint(tmp_path / 'run')).name == 'epoch_1.pth'


def poisoned(training, name, steps):
    """Have the gradient of a parameter be NaN in some iterations; what is before it in the network has it, too."""
    parameter = dict(training.model.named_parameters())[name]
    parameter.register_hook(lambda grad: grad * float('nan') if training.iter + 1 in steps else grad)


def weights_by_step(training):
    """Copies of the weights after each step, taken as the step ends."""
    taken = {}

    class Copy(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            taken[runner.iter + 1] = {k: v.clone() for k, v in runner.model.named_parameters()}

    training.register_hook(Copy(), 'LOWEST')
    return taken


LAYER = 'backbone.stages.3.blocks.0.attn.units.0.v.conv.pointwise1.weight'


@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)])
def test_a_nan_gradient_is_named_before_the_weights_take_it(digits, tmp_path, clip):
    training = runner(digits, tmp_path / 'run', epochs=4, **{'optim_wrapper.clip_grad': clip})
    poisoned(training, LAYER, steps=[3])
    after = weights_by_step(training)
    with pytest.raises(RuntimeError) as error:
        training.train()
    message = str(error.value)
    assert f"1 tensors is not finite in iteration 3 (epoch 3), nearest the loss of ['{LAYER}']" in message
    assert '00000.mp4' in message and f'the last good checkpoint is {tmp_path / "run" / "epoch_2.pth"}' in message
    assert list(after) == [1, 2]
    on_disk = load_checkpoint(tmp_path / 'run' / 'epoch_2.pth')['state_dict']
    for name, value in training.model.named_parameters():
        assert torch.equal(value, after[2][name]) and torch.equal(value, on_disk[name]), name


def test_a_batch_that_is_not_finite_stops_in_its_iteration(digits, tmp_path):
    training = runner(digits, tmp_path / 'run', epochs=3)
    training.model.data_preprocessor.register_forward_hook(
        lambda module, inputs, out: (
            {**out, 'inputs': out['inputs'] * float('nan')} if module.training and training.iter == 1 else out
        )
    )
    with pytest.raises(RuntimeError, match=r'not finite in iteration 2 .*epoch_1\.pth'):
        training.train()


def test_steps_are_left_out_up_to_a_number_in_a_row(digits, tmp_path, caplog):
    options = {'default_hooks.finite.max_skipped': 2}
    training = runner(digits, tmp_path / 'some', epochs=6, **options)
    poisoned(training, LAYER, steps=[2, 3, 5])
    after = weights_by_step(training)
    training.train()
    same = [step for step in range(2, 7) if all(torch.equal(v, after[step - 1][k]) for k, v in after[step].items())]
    assert same == [2, 3, 5]
    training = runner(digits, tmp_path / 'more', epochs=6, **options)
    poisoned(training, LAYER, steps=[2, 3, 4])
    with pytest.raises(RuntimeError, match=r'iteration 4 .*default_hooks\.finite\.max_skipped=N'):
        training.train()


def test_a_step_that_is_left_out_leaves_no_statistics_behind(tmp_path):
    """A value that is not finite is in the running statistics of the norms, too; without the option it stops there."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    training = SimpleNamespace(model=model, iter=0, epoch=0, work_dir=str(tmp_path), logger=logging.getLogger())
    training.message_hub = SimpleNamespace(runtime_info={}, update_scalar=lambda *args: None)
    training.train_dataloader = SimpleNamespace(dataset=[])

    def step(hook, *values):
        hook.before_train_iter(training, 0, {})
        training.optim_wrapper.update_params(model(torch.tensor(values).unsqueeze(1)).square().sum())
        return {name: value.clone() for name, value in model.state_dict().items()}

    for hook in (FiniteHook(max_skipped=1), FiniteHook()):
        training.optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))
        hook.before_train(training)
        before = step(hook, 1.0, 3.0)
        if hook.max_skipped:
            after = step(hook, 1.0, float('inf'))
            assert all(torch.equal(after[name], before[name]) for name in before)
            assert step(hook, 2.0, 3.0)['1.num_batches_tracked'] == 2
        else:
            with pytest.raises(RuntimeError, match=r"statistics \['1\.running_mean', .*max_skipped=N"):
                step(hook, 1.0, float('inf'))


def test_accumulated_batches_are_all_named(digits, tmp_path):
    options = {'optim_wrapper.accumulative_counts': 2, 'train_dataloader.batch_size': 1}
    training = runner(digits, tmp_path / 'run', **options)
    poisoned(training, LAYER, steps=[1])
    with pytest.raises(RuntimeError) as error:
        training.train()
    assert 'iteration 2 ' in str(error.value) and str(error.value).count('.mp4') == 2


def test_the_norm_of_the_gradient_is_logged(digits, tmp_path):
    training = runner(digits, tmp_path / 'run', epochs=1)
    seen = []
    training.optim_wrapper = training.build_optim_wrapper(training.optim_wrapper)
    training.optim_wrapper.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in training.model.parameters()]).norm().item())
    )
    training.train()
    logged = training.message_hub.get_scalar('train/grad_norm').data[0]
    assert logged.tolist() == pytest.approx(seen, rel=1e-5) and len(seen) == 1
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert 'grad_norm: ' in log and 'Training starts from random weights' in log


def test_a_loss_scaler_leaves_steps_out_itself(digits, tmp_path):
    """Under --amp infinite gradients are how the scale is found: not an error, unless they do not end."""
    training = runner(digits, tmp_path / 'run', epochs=4)

    class Scaler:
        def get_scale(self):
            return 2.0

    training.optim_wrapper = training.build_optim_wrapper(training.optim_wrapper)
    training.optim_wrapper.loss_scaler = Scaler()
    calls = []
    training.optim_wrapper.step = lambda **kwargs: calls.append(training.iter + 1)
    poisoned(training, LAYER, steps=[1, 2])
    training.train()
    assert calls == [1, 2, 3, 4]
    poisoned(training, LAYER, steps=range(100))
    hook = next(h for h in training.hooks if isinstance(h, FiniteHook))
    hook.skipped = SCALER_STEPS
    training.train_loop._max_epochs = 5
    with pytest.raises(RuntimeError, match='not finite in iteration 5'):
        training.train()


@pytest.mark.parametrize('key', ['finite', 'exact_resume', 'load_report'])
def test_a_safeguard_can_be_switched_off(digits, tmp_path, key):
    training = runner(digits, tmp_path / 'run', epochs=1, before={f'default_hooks.{key}': None})
    training.train()
    names = [type(hook).__name__ for hook in training.hooks]
    assert len({'FiniteHook', 'ExactResumeHook', 'LoadReportHook'} & set(names)) == 2


@pytest.mark.parametrize('named', [True, False])
def test_a_nan_loss_between_steps_may_be_left_out(digits, tmp_path, monkeypatch, named):
    """With accumulated gradients, too, where no step is due in the iteration of the NaN; also of unnamed samples."""
    if not named:
        monkeypatch.setattr('mmsvf.engine.hooks.finite_hook.drawn_indices', lambda batch: [])
    options = {'optim_wrapper.accumulative_counts': 2, 'train_dataloader.batch_size': 1}
    training = runner(digits, tmp_path / 'run', epochs=1, **options, **{'default_hooks.finite.max_skipped': 1})
    loss = training.model.cls_head.loss

    def diverges(*args, **kwargs):
        found = loss(*args, **kwargs)
        return {k: v * float('nan') if training.iter == 0 and 'loss' in k else v for k, v in found.items()}

    training.model.cls_head.loss = diverges
    training.train()
    assert training.iter == 4 and all(v.isfinite().all() for v in training.model.state_dict().values())


def test_a_look_every_second_step_sees_what_was_between(digits, tmp_path):
    options = {'default_hooks.finite.interval': 2, 'train_dataloader.batch_size': 1}
    training = runner(digits, tmp_path / 'run', **options)
    poisoned(training, LAYER, steps=[1])
    with pytest.raises(RuntimeError, match=r'iteration 2 .*tensors of the model are not finite already') as error:
        training.train()
    assert str(error.value).count('.mp4') == 2 and 'Start from a file whose weights are finite' in str(error.value)


def one_of_two(rank, folder):
    """A step of two processes of which the second alone has a NaN: a loss, then statistics."""
    store = torch.distributed.FileStore(f'{folder}/store', 2)
    torch.distributed.init_process_group('gloo', store=store, rank=rank, world_size=2)
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    model[0].weight.grad = torch.tensor([[float('nan')]])  # as it is after the gradients were averaged
    dataset = SimpleNamespace(get_data_info=lambda index: dict(filename=f'{index}.mp4'))
    training = SimpleNamespace(
        model=model, iter=0, epoch=0, work_dir=folder, train_dataloader=SimpleNamespace(dataset=dataset)
    )
    training.message_hub = SimpleNamespace(runtime_info={})
    hook = FiniteHook(max_skipped=5)
    batch = dict(data_samples=[SimpleNamespace(drawn_index=rank)])
    said = []
    for step in (
        lambda: hook.after_train_iter(training, 0, batch, dict(loss=torch.tensor([1.0, float('nan')][rank]))),
        lambda: hook._skip(training, ['0.weight'], [rank], 5),
    ):
        if rank == 1:
            model[1].running_var.fill_(float('nan'))
        try:
            step()
        except RuntimeError as error:
            said.append(str(error))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    (Path(folder) / f'{rank}.txt').write_text('\n'.join(said))


def test_processes_stop_together_and_name_all_files(tmp_path):
    torch.multiprocessing.start_processes(one_of_two, (str(tmp_path),), nprocs=2, start_method='fork')
    for rank in (0, 1):
        loss, statistics = (tmp_path / f'{rank}.txt').read_text().splitlines()
        assert 'loss=nan in iteration 1' in loss and 'the batch was 1.mp4;' in loss
        assert "the batch was 0.mp4, 1.mp4; with it the statistics ['1.running_var']" in statistics


def test_what_ended_a_training_is_in_its_log(digits, tmp_path, monkeypatch):
    training = runner(digits, tmp_path / 'run', epochs=1)
    poisoned(training, LAYER, steps=[1])
    monkeypatch.setattr(Runner, 'from_cfg', lambda cfg: training)
    with pytest.raises(RuntimeError):
        launch.run(training.cfg, 'train')
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert 'the run ended with RuntimeError: the gradient of' in log and 'Traceback' in log


@pytest.mark.parametrize('options', [dict(max_skipped=0.5), dict(max_skipped='x'), dict(interval=0)])
def test_options_that_are_no_numbers_of_steps(options):
    with pytest.raises(ValueError, match='whole numbers, at least 1 and 0'):
        FiniteHook(**options)


def test_a_large_gradient_is_not_taken_for_an_infinite_one():
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.full((1, 2), 1e30)
    assert gradient_norm(model) == (pytest.approx(2**0.5 * 1e30, rel=1e-6), [])
    model.bias.grad = torch.tensor([float('inf')])
    assert gradient_norm(model)[1] == ['bias']
