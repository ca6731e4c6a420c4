"""What the runs of an ablation gave, in a JSON file that several of its commands may read and add to."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmsvf.files.whole import whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Record:
    """Rows, parameters, and results by row and seed.

    Args:
        path: The file, which may not be there yet; None: nothing is read or kept.
        facts: Config, metric and options of all rows, the same for all that is in the file.
        rows: Options by name.
        sizes: Parameters by name.

    Raises:
        ValueError: the file is of another config, metric or options, or has a row of the same name with others.
    """

    def __init__(self, path: Path | None, facts: dict[str, Any], rows: dict[str, Any], sizes: dict[str, int]) -> None:
        self.path, self.facts, self.rows, self.sizes = path, facts, rows, sizes
        self.kept = self.read()  # when last looked at

    def read(self) -> dict[str, Any]:
        """What the file has."""
        if self.path is None or not self.path.is_file():
            return {**self.facts, 'rows': {}, 'parameters': {}, 'results': {}}
        try:
            kept = json.loads(self.path.read_text(encoding='utf-8'))
            has = {name: kept[name] for name in (*self.facts, 'rows', 'parameters', 'results')}
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f'{self.path} is no record of ablate.py ({error!r}); give another --json') from error
        wanted = dict(self.facts)
        for name in self.rows:
            if name in kept['rows']:
                wanted.update({f'row {name}': self.rows[name], f'parameters of {name}': self.sizes[name]})
                has.update({f'row {name}': kept['rows'][name], f'parameters of {name}': kept['parameters'][name]})
        for name, value in json.loads(json.dumps(wanted, default=str)).items():
            if has[name] != value:
                raise ValueError(f'{self.path} is of runs with {name}: {has[name]}, now {value}; give another --json')
        return kept

    def run(self, name: str, seed: int, fingerprint: str) -> dict[str, Any]:
        """A run of a config with this fingerprint; empty: there is none.

        Raises:
            ValueError: there is one, of another state of the config. Records of before fingerprints are taken.
        """
        run = self.kept['results'].get(name, {}).get(str(seed), {})
        if run.get('config', fingerprint) != fingerprint:
            raise ValueError(
                f'{self.path} has {name}, seed {seed}, of a config of this name that was another; give another --json'
            )
        return run

    def add(self, name: str, seed: int, run: dict[str, Any]) -> None:
        """Put a run into the file, beside what other commands have put there meanwhile."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.parent), whole(self.path) as part:
            self.kept = kept = self.read()
            kept['rows'][name], kept['parameters'][name] = self.rows[name], self.sizes[name]
            kept['results'].setdefault(name, {})[str(seed)] = run
            part.write_text(json.dumps(kept, indent=1, default=str) + '\n', encoding='utf-8')


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time, where the file system has locks."""
    file = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if file is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        if file is not None:
            os.close(file)
