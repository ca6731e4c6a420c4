import argparse
from pathlib import Path

import pytest
from mmengine.config import Config

from mmsvf.engine import launch, run_config
from mmsvf.files.checkpoints import save_checkpoint

from ..conftest import ROOT

K400 = str(ROOT / 'configs' / 'svf_k400.py')


RANDOM = '--cfg-options', 'load_from=None'


def train_args(*argv, config=K400):
    from importlib.util import module_from_spec, spec_from_file_location
    from unittest import mock

    spec = spec_from_file_location('train_tool', ROOT / 'tools' / 'train.py')
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    with mock.patch('sys.argv', ['train.py', config, *argv]):
        return tool.parse_args()


@pytest.fixture
def configured(monkeypatch):
    """The config that would be run."""
    seen = {}
    monkeypatch.setattr(launch, 'run', lambda cfg, method: seen.update(cfg=cfg, method=method))
    monkeypatch.setattr(launch, 'check_data', lambda cfg, *loaders: None)
    return seen


def test_a_file_to_write_is_looked_at_first(tmp_path):
    """By the command line, before hours of work."""
    (tmp_path / 'there').touch()
    assert run_config.output_file()(str(tmp_path / 'new' / 'a')) == tmp_path / 'new' / 'a'
    assert run_config.picture_file('a.PNG') == Path('a.PNG')
    for check, name, message in (
        (run_config.picture_file, 'c.txt', r"'.*c\.txt' must end with one of \.png, \.jpg"),
        (run_config.output_file(), '', r'cannot be written: it is a folder; give another file'),
        (run_config.output_file(), 'there/below/a', r'cannot be written: .*there is no folder that can be written to'),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=message):
            check(str(tmp_path / name))


def test_a_pdf_is_written_without_a_word(tmp_path, caplog):
    """fontTools has none for the dates of matplotlib's own fonts, as the figures of the paper embed them."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure()
    with matplotlib.rc_context({'pdf.fonttype': 42, 'mathtext.fontset': 'cm'}):
        figure.text(0, 0, '$q$')
        figure.savefig(run_config.picture_file(str(tmp_path / 'a.pdf')))
    assert not [record for record in caplog.records if 'timestamp' in record.getMessage()]


def test_flags_reach_the_config(configured, tmp_path):
    checkpoint = tmp_path / 'x.pth'
    checkpoint.touch()
    launch.train(
        train_args(
            *('--seed', '7', '--deterministic', '--auto-scale-lr', '--no-validate', '--resume', str(checkpoint)),
            *('--cfg-options', 'model.backbone.arch=small', 'train_dataloader.dataset.pipeline.1.clip_len=8'),
        )
    )
    cfg = configured['cfg']
    assert (cfg.randomness.seed, cfg.randomness.deterministic) == (7, True)
    assert cfg.auto_scale_lr.enable and cfg.val_dataloader is None and cfg.val_cfg is None
    assert cfg.resume is True and cfg.load_from == str(checkpoint)
    assert cfg.model.backbone.arch == 'small'
    assert cfg.train_dataloader.dataset.dataset.pipeline[1].clip_len == 8
    assert cfg.work_dir == 'work_dirs/svf_k400'


def test_no_seed_is_a_random_one(configured):
    """The plain command: what the config leaves out, the Runner accepts."""
    from mmengine.runner import Runner

    launch.train(train_args(*RANDOM))
    assert configured['cfg'].randomness == dict(seed=None)
    runner = Runner.__new__(Runner)
    runner.set_randomness(**configured['cfg'].randomness)
    assert isinstance(runner.seed, int)


def test_resume_without_a_path_finds_the_last(configured, tmp_path, capsys):
    there, start = tmp_path / 'there', tmp_path / 'imagenet.pth'
    for path in (there / 'epoch_1.pth', start):
        save_checkpoint(dict(state_dict={}), path)
    argv = '--resume', '--cfg-options', f'load_from={start}', '--work-dir'
    launch.train(train_args(*argv, str(there)))
    assert configured['cfg'].resume is True and configured['cfg'].load_from == str(there / 'epoch_1.pth')
    launch.train(train_args(*argv, str(tmp_path / 'new')))
    assert 'new has no checkpoint yet; training starts from the beginning' in capsys.readouterr().out
    assert configured['cfg'].resume is False and configured['cfg'].load_from == str(start), 'nothing to resume from yet'
    with pytest.raises(FileNotFoundError, match=r"--resume 'no\.pth' does not exist"):
        launch.train(train_args('--resume', 'no.pth'))


def test_a_start_that_is_not_there_says_what_the_paper_starts_from(configured):
    message = (
        r"load_from='work_dirs/svf_imagenet_t4/epoch_20\.pth' does not exist; the paper starts .* ImageNet-1K weights"
    )
    with pytest.raises(
        FileNotFoundError, match=f'{message}; .*load_from=FILE, or start .* --cfg-options load_from=None'
    ):
        launch.train(train_args())


@pytest.mark.parametrize(
    'name',
    [
        'mmaction::recognition/slowonly/slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics400-rgb.py',
        'mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py',
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
        'mmpretrain::resnet/resnet50_8xb32_in1k.py',
    ],
)
def test_configs_of_the_frameworks(configured, name):
    launch.train(
        train_args(
            '--cfg-options', 'model.backbone._delete_=True', 'model.backbone.type=mmsvf.SpikeVideoFormer', config=name
        )
    )
    assert configured['cfg'].model.backbone == dict(type='mmsvf.SpikeVideoFormer')
    assert configured['cfg'].work_dir.startswith('work_dirs/')


def test_amp_without_a_gpu(configured, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(ValueError, match='--amp trains in half precision on a GPU'):
        launch.train(train_args('--amp', *RANDOM))
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    launch.train(train_args('--amp', *RANDOM))
    assert configured['cfg'].optim_wrapper.type == 'AmpOptimWrapper'


@pytest.mark.parametrize(
    'name, error, message',
    [
        ('configs/svf_k40.py', FileNotFoundError, r"'configs/svf_k40\.py' does not exist; did you mean"),
        (str(ROOT / 'configs' / 'svf_k40.py'), FileNotFoundError, r"svf_k40\.py' does not exist; did .*svf_k400"),
        ('mmaction::recognition/tsm/tms.py', FileNotFoundError, r'does not exist'),
        ('x/epoch_1.pth', ValueError, r'is a checkpoint: the config comes first'),
        ('mmactoin::x.py', ValueError, r"unknown framework 'mmactoin'; choose one of \['mmaction'"),
    ],
)
def test_wrong_config_names(name, error, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(error, match=message):
        run_config.load_config(name)


def test_auto_scale_lr_needs_its_base(configured, tmp_path):
    Config(dict(default_scope='mmaction')).dump(tmp_path / 'c.py')
    with pytest.raises(ValueError, match=r'auto_scale_lr\.base_batch_size'):
        launch.train(train_args('--auto-scale-lr', config=str(tmp_path / 'c.py')))


def test_a_schedule_shorter_than_the_training_is_refused_before_it_starts(configured):
    demo = str(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py')
    longer = '--cfg-options', 'train_cfg.max_epochs=30'
    with pytest.raises(ValueError, match=r'max_epochs=30, but param_scheduler\.total_steps=4: .*\.total_steps=30'):
        launch.train(train_args(*longer, config=demo))
    for good in ((*longer, 'param_scheduler.total_steps=30'), ('--cfg-options', 'train_cfg.max_epochs=2'), ()):
        launch.train(train_args(*good, config=demo))
    several = [dict(type='LinearLR', end=2), dict(type='OneCycleLR', begin=2, total_steps=8, by_epoch=False)]
    run_config.check_schedule(Config(dict(param_scheduler=several, train_cfg=dict(max_iters=10))))
    with pytest.raises(ValueError, match=r'max_iters=11 param_scheduler\.1\.total_steps=9$'):
        run_config.check_schedule(Config(dict(param_scheduler=several, train_cfg=dict(max_iters=11))))


def test_args(**overrides):
    values = dict(
        config=K400, checkpoint=__file__, work_dir=None, cfg_options=None, launcher='none', local_rank=0, dump=None,
        out=None, tta=False, show=False, show_dir=None, interval=1, wait_time=2, fuse=False, compile=False,
        engine='dense',
    )  # fmt: skip
    return argparse.Namespace(**{**values, **overrides})


test_args.__test__ = False


def test_show_dir_switches_the_hook_on(configured):
    launch.test(test_args(show_dir='shown', interval=3, dump='p.pkl'))
    cfg = configured['cfg']
    hook = cfg.default_hooks.visualization
    assert (hook.type, hook.enable, hook.out_dir, hook.interval) == (
        'mmsvf.VideoVisualizationHook', True, 'shown', 3,
    )  # fmt: skip
    assert [m['type'] for m in cfg.test_evaluator] == ['AccMetric', 'DumpResults']
    launch.test(test_args(config='mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py', show_dir='shown'))
    cfg = configured['cfg']
    assert cfg.default_hooks.visualization.draw is True and cfg.visualizer.save_dir == 'shown'


def test_label_maps_are_written_by_the_metrics_that_can(configured):
    for name, metric in (
        (str(ROOT / 'configs' / 'demo' / 'svf_moving_scenes.py'), 'mmsvf.VideoSegMetric'),
        ('mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py', 'IoUMetric'),
    ):
        launch.test(test_args(config=name, dump='p.pkl', out='maps'))
        first, last = configured['cfg'].test_evaluator
        assert (first.type, first.output_dir) == (metric, 'maps')
        assert last == dict(type='DumpResults', out_file_path='p.pkl')
    launch.test(test_args(config=name, out='maps', cfg_options={'test_evaluator.type': 'DepthMetric'}))
    options = {'test_evaluator': dict(_delete_=True, type='DumpResults', out_file_path='p.pkl')}
    with pytest.raises(ValueError, match='--out needs a metric that takes output_dir'):
        launch.test(test_args(config=name, out='maps', cfg_options=options))


def test_a_test_of_any_framework_says_what_was_loaded(configured):
    launch.test(test_args(config='mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py'))
    assert configured['cfg'].default_hooks.load_report == dict(type='mmsvf.LoadReportHook')
    assert 'exact_resume' not in configured['cfg'].default_hooks


@pytest.mark.parametrize(
    'overrides, error, message',
    [
        (dict(checkpoint='no.pth'), FileNotFoundError, r"checkpoint 'no\.pth' does not exist"),
        (dict(dump='p.json'), ValueError, r"--dump 'p\.json'.*\.pkl"),
        (dict(tta=True), ValueError, r'--tta needs tta_model'),
    ],
)
def test_wrong_test_flags(configured, overrides, error, message):
    with pytest.raises(error, match=message):
        launch.test(test_args(**overrides))


def test_safeguards_are_added_once_and_can_be_switched_off():
    hooks = dict(finite=dict(max_skipped=2), exact_resume=None)  # what --cfg-options KEY=None gives
    cfg = Config(dict(default_hooks=hooks, custom_hooks=[dict(type='mmsvf.LoadReportHook')]))
    launch.add_training_safeguards(cfg, Path('unreadable.txt'))
    others = dict(mask_label='MaskLabelHook', optimizer_report='OptimizerReportHook')
    added = {key: dict(type=f'mmsvf.{name}') for key, name in others.items()}
    assert cfg.default_hooks == dict(finite=dict(type='mmsvf.FiniteHook', max_skipped=2), **added)


def test_a_head_of_another_number_of_classes_is_said_before_training():
    cfg = Config(dict(model=dict(cls_head=dict(num_classes=400))))
    cfg.train_dataloader = dict(dataset=dict(dataset=dict(metainfo=dict(classes=['a', 'b']))))
    with pytest.raises(
        ValueError, match=r'2 classes are named in .*train_dataloader, .*cls_head\.num_classes=400; set'
    ):
        run_config.check_classes(cfg, 'train_dataloader')
