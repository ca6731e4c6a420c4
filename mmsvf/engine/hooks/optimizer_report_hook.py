"""A log line that says which parameters the optimizer has, and with what rates; the table of all is a file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from torch import Tensor
from torch.optim import Optimizer

from mmsvf.engine.sharded import unwrapped
from mmsvf.registry import HOOKS

COLUMNS = 'optimizer', 'parameter', 'shape', 'lr', 'weight_decay'
SHOWN = 4  # groups of the line; a rate for each layer makes many


@HOOKS.register_module()
class OptimizerReportHook(Hook):
    """Logs the tensors of an optimizer in groups of equal rate and decay, and writes ``vis_data/optimizer.csv``.

    The line stands for MMEngine's ``paramwise_options``, of which there are three or four for each tensor. Rates are
    those that a schedule starts from.
    """

    def before_train(self, runner: Any) -> None:
        """Log the groups and write the table, a line a tensor."""
        wrapper = runner.optim_wrapper
        wrappers = dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}
        names = {id(parameter): name for name, parameter in unwrapped(runner.model).named_parameters()}
        rows = [row for key, one in wrappers.items() for row in rows_of(one.optimizer, key, names)]
        frozen = [frozen_row(name, p) for name, p in unwrapped(runner.model).named_parameters() if not p.requires_grad]
        table = Path(runner.log_dir, 'vis_data', 'optimizer.csv')
        for key, one in wrappers.items():
            groups = Counter((row['lr'], row['weight_decay']) for row in rows if row['optimizer'] == key)
            parts = [f'{count} tensors with lr {lr:g}, weight decay {decay:g}'
                     for (lr, decay), count in groups.most_common(SHOWN)]  # fmt: skip
            if len(groups) > SHOWN:
                parts.append(f'{len(groups) - SHOWN} more groups')
            if frozen:
                parts.append(f'{len(frozen)} tensors of the model are frozen')
            name = f'optimizer {key}'.strip()
            runner.logger.info(f'{name}: {type(one.optimizer).__name__}; {"; ".join(parts)}; each is in {table}')
        write_table(table, rows + frozen)


def rows_of(optimizer: Optimizer, key: str, names: dict[int, str]) -> Iterator[dict[str, Any]]:
    """A row for each tensor of an optimizer that learns; sharded ones have lost their names."""
    for group in optimizer.param_groups:
        rates = dict(lr=group.get('initial_lr', group.get('lr', 0.0)), weight_decay=group.get('weight_decay', 0.0))
        for parameter in group['params']:
            if parameter.requires_grad:
                name = names.get(id(parameter), '')
                yield dict(optimizer=key, parameter=name, shape='x'.join(map(str, parameter.shape)), **rates)


def frozen_row(name: str, parameter: Tensor) -> dict[str, Any]:
    """The row of a tensor that does not learn."""
    shape = 'x'.join(map(str, parameter.shape))
    return dict(optimizer='', parameter=name, shape=shape, lr='frozen', weight_decay='')


@master_only
def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
