"""The first lines of a run: a screen on the console, everything else in the files of its work-dir.

MMEngine logs the environment, the config and the order of the hooks (some 350 lines), then a line for each option of
each parameter (``paramwise_options``, a thousand and more) and for each frozen one. Here the first three are in the log
file alone, under one line on the console that says so, and the last are a line of :class:`mmsvf.OptimizerReportHook`
and a table. With ``log_level='DEBUG'`` all is said everywhere, as in MMEngine.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from unittest import mock

import mmengine
import torch
from mmengine.config import config as mmengine_config
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger, print_log
from mmengine.runner import checkpoint
from yapf.yapflib import yapf_api

from mmsvf.version import __version__

# what of MMEngine's start is for the log file, by how it begins; the last two are about MMEngine's own code
IN_FILE = (
    'Config:\n',
    'Hooks will be executed in',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)
IN_TABLE = re.compile(r'paramwise_options -- |\S+ is skipped since its requires_grad=False')  # vis_data/optimizer.csv
ENVIRONMENT = 'System environment:'
MISMATCH, CUT = 'The model and loaded state dict do not match', 400  # names of hundreds of tensors; characters of them


def short_console(console: logging.Handler, file: str) -> Callable[[logging.LogRecord], bool]:
    """A filter that leaves out of a console what is long, and says in its place where that is.

    Args:
        console: The handler that the filter is for.
        file: Path of the log file.
    """

    def goes_to_the_console(record: logging.LogRecord) -> bool:
        text, short = record.getMessage(), None
        if ENVIRONMENT in text[:100]:
            short = first_line(text, file)
        elif text.startswith(MISMATCH) and len(text) > 2 * CUT:
            short = f'{" ".join(text[:CUT].split())} ...; all of it is in {file}'
        if short is not None:
            console.handle(logging.makeLogRecord({**vars(record), 'msg': short, 'args': ()}))
            return False
        return not text.startswith(IN_FILE)

    return goes_to_the_console


def first_line(environment: str, file: str) -> str:
    """What a reader of the environment looks for, in a line."""
    seed = re.search(r'^ *seed: (.*)$', environment, re.MULTILINE)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    processes = get_world_size()
    facts = [f'mmsvf {__version__}', f'torch {torch.__version__}', f'MMEngine {mmengine.__version__}']
    facts += [
        f'{processes} process{"es" if processes > 1 else ""} on {device}',
        f'seed {seed[1] if seed else None}',
    ]
    return f'{", ".join(facts)}; environment, config and hooks are in {file}'


def shorten(logger: MMLogger) -> None:
    """Put the filters of a short start into a logger that has a file."""
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    if not files or min(handler.level for handler in logger.handlers) <= logging.DEBUG:
        return
    for handler in logger.handlers:
        handler.addFilter(lambda record: not IN_TABLE.match(record.getMessage()))
        if handler not in files:
            handler.addFilter(short_console(handler, files[0].baseFilename))


@contextlib.contextmanager
def short_start() -> Iterator[None]:
    """Runners that are built within have loggers with a short start, and format an unchanged config once.

    What a checkpoint lacks, which MMEngine prints in each process, is logged.

    MMEngine formats the config for the log, for each visualizing backend, the dump in the work-dir and the message hub:
    five times at start, 0.1 to 0.3 s each, and again with each checkpoint.
    """
    original = MMLogger.__init__

    def build(self: MMLogger, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        shorten(self)

    def log(message: Any, logger: Any = None, level: int = logging.INFO) -> None:
        print_log(message, 'current' if logger is None else logger, level)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(MMLogger, '__init__', build))
        stack.enter_context(mock.patch.object(checkpoint, 'print_log', log))
        for module in (mmengine_config, yapf_api):  # onedl-mmengine imports it when it formats
            if hasattr(module, 'FormatCode'):
                stack.enter_context(mock.patch.object(module, 'FormatCode', formatted_once(module.FormatCode)))
        yield


def formatted_once(format_code: Any) -> Any:
    """yapf's ``FormatCode`` for configs, which remembers the last ones."""

    @lru_cache(maxsize=4)
    def remembered(text: str, style: tuple, options: tuple) -> Any:
        return format_code(text, style_config=dict(style), **dict(options))

    def format_config(text: str, style_config: dict[str, Any], **options: Any) -> Any:
        return remembered(text, tuple(style_config.items()), tuple(options.items()))

    return format_config
