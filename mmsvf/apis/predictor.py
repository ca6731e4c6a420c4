"""A trained model that predicts any source: one class a task, made from a config and a checkpoint."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import load_checkpoint

from mmsvf.analysis.models import construct
from mmsvf.engine.run_config import load_config, require_file
from mmsvf.files.load_report import compare
from mmsvf.registry import DATASETS
from mmsvf.spiking.fusion import ENGINES
from mmsvf.spiking.fusion import fuse as fused

from .records import Record
from .sources import Source, SourceLike, open_source
from .stream import why_not

# the task of a framework, as module and class
TASKS = dict(
    mmaction=('action_predictor', 'ActionPredictor'),
    mmseg=('segmentation_predictor', 'SegmentationPredictor'),
    mmpose=('pose_predictor', 'PosePredictor'),
)


class Predictor(ABC):
    """Predicts frame by frame what ``tools/test.py`` would, by the test pipeline of the config.

    ::

        predictor = Predictor.from_config('configs/svf_k400.py', 'epoch_30.pth')
        for record in predictor('video.mp4'):
            print(record.to_dict())
            picture = record.draw()

    A model that reads no frames to come, as with ``space_time='causal'``, predicts each frame as it comes, as
    :class:`.stream.Stream` does. Any other sees windows of frames. The log says which.

    What is kept is a state, or as long as a window, not as the source. (MMEngine's ``BaseInferencer`` keeps what it
    predicts of all its inputs until the last, and takes no frames as they come.)

    Args:
        model: The model, which is put into evaluation.
        cfg: Its config, of which the test data set is read.

    Attributes:
        frame_by_frame: Whether the model does not see windows.
    """

    scope: ClassVar[str]
    frame_by_frame = False

    def __init__(self, model: Any, cfg: Config) -> None:
        self.model, self.cfg = model.eval(), cfg
        self.dataset = test_dataset(cfg)

    def choose(self, windows: bool, otherwise: str | None = None, **of_windows: Any) -> None:
        """Go frame by frame if the model can, and have the log say whether it does.

        Args:
            windows: Whether windows are asked for.
            otherwise: Why it cannot for the task's own reasons.
            **of_windows: Options of windows alone; None: not given.

        Raises:
            ValueError: an option of windows, which there are none of.
        """
        reason = 'as asked for' if windows else why_not(self.model) or otherwise
        self.frame_by_frame = reason is None
        given = [name for name, value in of_windows.items() if value is not None]
        if self.frame_by_frame and given:
            raise ValueError(
                f'{given[0]}={of_windows[given[0]]!r} is of windows, and this model goes frame by frame: leave it out, '
                'or take windows=True (--windows)'
            )
        how = f'in windows: {re.split("[:;]", reason)[0]}' if reason else 'frame by frame'
        print_log(f'predicting {how}', logger='current')

    @classmethod
    def from_config(
        cls,
        config: str | Path | Config,
        checkpoint: str,
        device: str | None = None,
        fuse: bool = True,
        classes: str | Path | Sequence[str] | None = None,
        engine: str = 'dense',
        **options: Any,
    ) -> Any:
        """The predictor of a config's task, with the weights of a checkpoint.

        Args:
            config: A config, its file, or one of an installed framework (``mmaction::...``).
            checkpoint: File or URL.
            device: Such as 'cuda:0' or 'cpu'; a GPU if there is one.
            fuse: Predict with the exact inference form (:func:`mmsvf.fuse`), which is faster.
            classes: Names of the classes, or a file of them, one a line. Otherwise those of the data set in the config,
                of a ``label_map`` in it, or of the data set in the checkpoint; else they are numbered.
            engine: With ``fuse``, that of :func:`mmsvf.fuse`; 'events' is faster on a CPU and rounds otherwise.
            **options: Of the task's class.

        Raises:
            FileNotFoundError, ImportError: a file or a framework is missing.
            ValueError: a config of another task, a checkpoint of another model, another number of class names, or a
                device that is not there.
        """
        cfg = config if isinstance(config, Config) else load_config(str(config))
        scope = cfg.get('default_scope')
        if scope not in TASKS:
            raise ValueError(f'default_scope={scope!r} of the config; videos are predicted by {", ".join(TASKS)}')
        module, name = TASKS[scope]
        kind = getattr(import_module(f'mmsvf.apis.{module}'), name)
        if not issubclass(kind, cls):
            raise ValueError(f'{cls.__name__} takes configs of {cls.scope}, this one is of {scope}: use {name}')
        if engine not in ENGINES or (engine != 'dense' and not fuse):
            raise ValueError(f'engine={engine!r}, fuse={fuse}; an engine is one of {ENGINES}, of a fused model')
        check_device(device)
        model, meta = load_model(cfg, checkpoint)
        if fuse:
            try:
                model = fused(model, engine=engine)
            except ValueError as error:  # a network without spikes, or with weights computed anew
                print_log(f'predicting with the plain model: {error}', logger='current', level=logging.WARNING)
        model.to(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        if scope == 'mmpose':
            if classes is not None:
                raise ValueError(f'classes={classes!r}: a pose has none; leave them out')
        else:
            options['classes'], palette = class_names(cfg, meta, classes)
            if scope == 'mmseg':
                options['palette'] = palette
        return kind(model, cfg, **options)

    def __call__(self, source: SourceLike, fps: float = 25.0) -> Iterator[Record]:
        """Predict a source, lazily.

        Args:
            source: A video file; a folder of pictures; BGR frames as an array (T, H, W, 3), a list or an iterator; or
                the number of a camera. What else a task takes: see its class.
            fps: Frames a second of pictures and of frames in memory.

        Yields:
            A record a frame, or a time step of a pose, in their order.

        Raises:
            FileNotFoundError, UnreadableError, ValueError, OSError: a source that cannot be read.
        """
        return self.predict(self.open(source, fps))

    def open(self, source: SourceLike, fps: float = 25.0) -> Source:
        """The source that :meth:`predict` takes, with what is known of it beforehand."""
        return open_source(source, fps)

    def takes(self, name: str) -> bool:
        """Whether a name that no file has is a source, such as an action of the data set."""
        return False

    def expected(self, source: Source) -> int | None:
        """Number of records to come, if it is known."""
        return source.length

    def output_fps(self, source: Source) -> float:
        """Records a second."""
        return source.fps

    @abstractmethod
    def predict(self, source: Source) -> Iterator[Record]:
        """Predict an open source, lazily."""


def test_dataset(cfg: Config) -> ConfigDict:
    """Config of the test data set, without wrappers around it.

    Raises:
        ValueError: the config has none.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise ValueError('the config has no test_dataloader, whose pipeline frames go through')
    dataset = loader.dataset
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def load_model(cfg: Config, checkpoint: str) -> tuple[Any, dict[str, Any]]:
    """The model of a config with the weights of a checkpoint, on the CPU, and the checkpoint's meta data.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no weight of the checkpoint is the model's, or its head's are missing or of other classes.
    """
    require_file(checkpoint)
    model, _ = construct(cfg, ConfigDict(cfg.model))  # the checkpoint has all weights; nothing is downloaded
    found = load_checkpoint(model, checkpoint, map_location='cpu')
    given = {k: v for k, v in found.get('state_dict', found).items() if hasattr(v, 'shape')}
    report = compare(model.state_dict(), given)
    if not report.loaded:
        raise ValueError(
            f'{checkpoint} has no weight of the {type(model).__name__} of the config: one of them is wrong'
        )
    report.check_head(checkpoint, dict(model.named_parameters()))
    return model, found.get('meta') or {}


def class_names(
    cfg: Config, meta: dict[str, Any], given: str | Path | Sequence[str] | None = None
) -> tuple[list[str], list[list[int]]]:
    """Names of the classes and their RGB colours; the latter () where none are known.

    Raises:
        ValueError: another number of names than the head has classes.
    """
    head = cfg.model.get('cls_head') or cfg.model.get('decode_head') or cfg.model.get('head') or {}
    head = head[-1] if isinstance(head, (list, tuple)) else head
    count = head.get('num_classes')
    dataset = test_dataset(cfg)
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        kind = registry.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    of_checkpoint = {k.lower(): v for k, v in (meta.get('dataset_meta') or {}).items()}
    sources: list[dict[str, Any]] = [
        dataset.get('metainfo') or {},
        of_checkpoint,
        getattr(kind, 'METAINFO', None) or {},
    ]
    if given is None and cfg.get('label_map'):
        given = cfg.label_map
    if isinstance(given, (str, Path)):
        require_file(str(given), 'list of class names ', 'it has a name a line')
        given = Path(given).read_text(encoding='utf-8-sig').splitlines()
    names = list(given or next((s['classes'] for s in sources if s.get('classes')), ()))
    names = [str(name).strip() for name in names if str(name).strip()]
    if names and count and len(names) != count:
        raise ValueError(f'{len(names)} class names, but the head of the config has num_classes={count}; correct them')
    palette = next((s['palette'] for s in sources if s.get('palette')), ())
    return names or [f'class {i}' for i in range(count or 0)], [list(colour) for colour in palette]


def check_device(device: str | None) -> None:
    """Raise ValueError for a device that is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        there = ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]
        raise ValueError(
            f'device={device!r} is not there: {str(error).splitlines()[0]}; choose one of {there}'
        ) from None
