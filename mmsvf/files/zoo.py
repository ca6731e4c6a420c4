"""The models that came with mmsvf: their metafiles, configs and checkpoints, in a checkout and in a wheel."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmengine
from mmengine.config import Config


def zoo(root: Path) -> dict[str, dict[str, Any]]:
    """Entries of the metafiles that ``model-index.yml`` imports, by name, as MIM reads them.

    Args:
        root: Folder of ``model-index.yml``, ``configs`` and ``checkpoints`` (:func:`mmsvf.frameworks.mim_folder`).
    """
    files = mmengine.load(root / 'model-index.yml')['Import']
    return {entry['Name']: entry for file in files for entry in mmengine.load(root / file)['Models']}


def weights_file(root: Path, entry: dict[str, Any]) -> Path:
    """Checkpoint of an entry, also where its ``Weights`` is an address: the files are there all the same."""
    return root / 'checkpoints' / Path(entry['Weights']).name


def copy_models(names: Sequence[str], root: Path, dest: Path) -> list[Path]:
    """Put checkpoint and config of models into a folder, as ``mim download`` does with files that it fetches.

    Args:
        names: Names of the models, such as 'svf_moving_digits'.
        root: As of :func:`zoo`.
        dest: The folder; made if it is not there.

    Returns:
        The files, a checkpoint and a config (in one piece, without ``_base_``) each.

    Raises:
        ValueError: a model that is not in the zoo or has no checkpoint, of which the message has those that do; or
            ``dest`` is a file.
    """
    entries = zoo(root)
    shipped = [name for name, entry in entries.items() if 'Weights' in entry]
    for name in names:
        if name not in shipped:
            what = 'has no checkpoint: it was not trained' if name in entries else 'is no model of the zoo'
            raise ValueError(f'{name} {what}; with a checkpoint there are {", ".join(shipped)}')
    if dest.exists() and not dest.is_dir():
        raise ValueError(f'{dest} is a file; give a folder, in which a checkpoint and a config are written')
    dest.mkdir(parents=True, exist_ok=True)
    files = []
    for name in names:
        source = weights_file(root, entries[name])
        files += [Path(shutil.copy(source, dest / source.name)), dest / f'{name}.py']
        Config.fromfile(root / entries[name]['Config']).dump(files[-1])
    return files
