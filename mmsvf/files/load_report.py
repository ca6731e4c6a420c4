"""What loading a state dict into a model does, in one line: tensors loaded, new and dropped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass
class LoadReport:
    """Names of tensors, sorted by what happens to them.

    Attributes:
        loaded: in the model and in the file, of one shape.
        new: in the model only, so they keep their initial values.
        dropped: in the file only.
        mis_sized: in both, of two shapes (as text: name, the file's shape, the model's).
    """

    loaded: list[str]
    new: list[str]
    dropped: list[str]
    mis_sized: list[str]

    def check_head(self, source: str, parameters: Collection[str]) -> None:
        """Refuse to predict with a head that keeps its random weights: the file has none, or of another size.

        A head is what a model has under a name such as ``cls_head``; auxiliary ones predict nothing. One that a part of
        its weights came for is left alone, as is what has no parameters.

        Args:
            source: Of the weights, for the message.
            parameters: Names of the model's parameters; its other tensors may have their initial values.

        Raises:
            ValueError: there is such a head; the message names its tensors.
        """
        heads = [text for text in self.mis_sized if 'head' in text.split(':')[0]]
        if heads:
            raise ValueError(
                f'{source} is of a model with other classes than this config{_names(heads)}: what it predicts would be '
                'random. Give the config that it was trained with, or a checkpoint of this one'
            )
        came = {_head(name) for name in self.loaded if name in parameters}
        missing = [name for name in self.new if name in parameters and _head(name) and _head(name) not in came]
        if missing:
            raise ValueError(
                f'{source} has no weights of the head{_names(missing)}: what it predicts would be random. Train with '
                '--cfg-options load_from=FILE, and give a checkpoint of that training'
            )

    def __str__(self) -> str:
        text = f'{len(self.loaded)} tensors loaded, {len(self.new)} new'
        text += f'{_names(self.new)}, {len(self.dropped)} dropped{_names(self.dropped)}'
        return text + (f', {len(self.mis_sized)} of another size{_names(self.mis_sized)}' if self.mis_sized else '')


def compare(model: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> LoadReport:
    """Report of loading ``given`` into a model whose ``state_dict()`` is ``model``."""
    both = model.keys() & given.keys()
    other = {k for k in both if tuple(model[k].shape) != tuple(given[k].shape)}
    sizes = [f'{k}: {tuple(given[k].shape)} in the file, {tuple(model[k].shape)} in the model' for k in sorted(other)]
    return LoadReport(
        sorted(both - other), sorted(model.keys() - given.keys()), sorted(given.keys() - model.keys()), sizes
    )


def _head(name: str) -> str:
    """The head that a tensor belongs to, as the model has it; empty for that of another part."""
    part = name.split('.')[0]
    return part if 'head' in part and not part.startswith('aux') else ''


def _names(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return f' ({", ".join(names[:most])}{", ..." if len(names) > most else ""})' if names else ''
