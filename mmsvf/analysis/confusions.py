"""Which classes a classifier takes for which others: recalls, the most confused pairs, and the matrix as a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmsvf.files import pickles

DRAWN = 30  # classes of a picture whose names and numbers can be read


@dataclass
class Confusions:
    """Counts of samples by class.

    Attributes:
        matrix: (C, C) integers, true classes by predicted ones.
        classes: Names.
    """

    matrix: np.ndarray
    classes: Sequence[str]

    @property
    def accuracy(self) -> float:
        """Top-1, from 0 to 1."""
        return float(self.matrix.trace() / max(1, self.matrix.sum()))

    def recalls(self) -> np.ndarray:
        """Share (C,) of a class's samples that are recognised; NaN of a class without samples."""
        totals = self.matrix.sum(1)
        return np.divide(self.matrix.diagonal(), totals, out=np.full(len(totals), np.nan), where=totals > 0)

    def pairs(self, count: int) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: true class, predicted class, samples."""
        wrong = self.matrix - np.diag(self.matrix.diagonal())
        best = [divmod(int(i), len(wrong)) for i in np.argsort(-wrong, axis=None, kind='stable')[:count]]
        return [(self.classes[i], self.classes[j], int(wrong[i, j])) for i, j in best if wrong[i, j]]

    def text(self, count: int = 10) -> str:
        """The recall of each class, the lowest first; accuracy; the most confused pairs."""
        recalls, totals, width = self.recalls(), self.matrix.sum(1), max(map(len, self.classes))
        lines = ['recall']
        for i in np.argsort(np.nan_to_num(recalls, nan=2.0), kind='stable'):
            share = f'{recalls[i]:6.1%}' if totals[i] else '     -'
            lines.append(f'{share}  {self.classes[i]:{width}}  {self.matrix[i, i]} of {totals[i]}')
        total, right = int(self.matrix.sum()), int(self.matrix.trace())
        wrong = total - right
        mistakes = f'{wrong} mistake{"s" * (wrong != 1)}{", most often" * (wrong > 1)}'
        lines += ['', f'top-1 {self.accuracy:.1%} ({right} of {total}); {mistakes}']
        lines += [
            f'{number:6}  {true:{width}}  taken for  {predicted}' for true, predicted, number in self.pairs(count)
        ]
        return '\n'.join(lines)

    def drawn(self, most: int = DRAWN) -> list[int]:
        """The classes of a picture: all, or the ``most`` with the most frequent mistakes between them."""
        if len(self.classes) <= most:
            return list(range(len(self.classes)))
        wrong = self.matrix - np.diag(self.matrix.diagonal())
        order = (divmod(int(i), len(wrong)) for i in np.argsort(-wrong, axis=None, kind='stable'))
        chosen = dict.fromkeys(label for pair in islice(order, most) for label in pair)
        return sorted(list(chosen)[:most])

    def draw(self, axes: Any, normalize: bool = False) -> Any:
        """Draw the matrix of the classes :meth:`drawn` with their names, and top-1 of all above it.

        Args:
            axes: matplotlib's.
            normalize: Per cent of all samples of each true class, not samples.

        Returns:
            The image, for a colour bar.
        """
        shown = self.drawn()
        part, names = self.matrix[np.ix_(shown, shown)], [self.classes[i] for i in shown]
        values = 100 * part / np.maximum(self.matrix.sum(1, keepdims=True)[shown], 1) if normalize else part
        image = axes.imshow(values, cmap='Blues', vmin=0, vmax=100 if normalize else max(1, values.max()))
        axes.set_xticks(range(len(shown)), names, rotation=45, ha='right', rotation_mode='anchor', fontsize=9)
        axes.set_yticks(range(len(shown)), names, fontsize=9)
        title = f'top-1 {self.accuracy:.1%} of {self.matrix.sum()}'
        if len(shown) < len(self.classes):
            title += f'; the {len(shown)} most confused of {len(self.classes)} classes'
        axes.set(xlabel='predicted', ylabel='true', title=title)
        lines = np.arange(len(shown) + 1) - 0.5
        axes.set_xticks(lines, minor=True)
        axes.set_yticks(lines, minor=True)
        axes.grid(which='minor', color='white', linewidth=1)
        axes.tick_params(which='both', length=0)
        for i, j in np.argwhere(part > 0):
            dark = values[i, j] > 0.55 * image.norm.vmax
            ink = 'white' if dark else 'firebrick' if i != j else 'black'
            axes.text(j, i, f'{values[i, j]:.0f}', ha='center', va='center', fontsize=8, color=ink)
        return image

    def picture(self, normalize: bool = False) -> Any:
        """A figure of matplotlib's with what :meth:`draw` draws and a colour bar, of whole samples or per cent."""
        from matplotlib import pyplot as plt
        from matplotlib.ticker import MaxNLocator

        side = 0.45 * len(self.drawn())
        figure, axes = plt.subplots(figsize=(side + 3.5, side + 2.5), layout='constrained')
        what = '% of the true class' if normalize else 'samples'
        figure.colorbar(self.draw(axes, normalize), shrink=0.7, label=what, ticks=MaxNLocator(integer=True))
        return figure


def counted(
    truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray, classes: Sequence[str]
) -> Confusions:
    """Count samples.

    Raises:
        ValueError: no samples, a number of predictions other than that of labels, or a label without a name.
    """
    pairs = np.array([truth, predicted], int) if len(truth) == len(predicted) else np.empty((2, 0), int)
    if not pairs.size:
        raise ValueError(f'{len(truth)} labels and {len(predicted)} predictions; there must be one each, and some')
    if pairs.min() < 0 or pairs.max() >= len(classes):
        raise ValueError(f'labels from {pairs.min()} to {pairs.max()}, but {len(classes)} class names; give all names')
    count = len(classes)
    return Confusions(np.bincount(count * pairs[0] + pairs[1], minlength=count**2).reshape(count, count), classes)


def read_dump(path: str | os.PathLike) -> tuple[list[int], list[int]]:
    """True and predicted labels of what ``tools/test.py --dump`` wrote for a classifier.

    Raises:
        ValueError: predictions of another task, or samples with several labels.
    """
    with Path(path).open('rb') as file:
        samples = pickles.load(file)
    if not isinstance(samples, (list, tuple)) or not all(
        isinstance(sample, Mapping) and {'gt_label', 'pred_score'} <= sample.keys() for sample in samples
    ):
        raise ValueError(
            f'{path} has no gt_label and pred_score; give what tools/test.py --dump writes for a classifier'
        )
    labels = [np.asarray(sample['gt_label']).ravel() for sample in samples]
    if any(label.size != 1 for label in labels):
        raise ValueError(f'{path} has samples with several labels; a confusion matrix needs one each')
    return [int(label[0]) for label in labels], [int(np.asarray(sample['pred_score']).argmax()) for sample in samples]


def read_predicted(
    path: str | os.PathLike, listed: Mapping[str, int], classes: Sequence[str]
) -> tuple[list[int], list[int]]:
    """True and predicted labels of the ``sources.jsonl`` that ``tools/predict.py`` wrote.

    Args:
        path: The file.
        listed: Labels by path of the test set's videos; a source is found by its path, or by a name that is there once.
        classes: Names, as the predictions have them.

    Raises:
        ValueError: a source that is not in the list, or a class without a name.
    """
    by_path = {os.path.realpath(name): label for name, label in listed.items()}
    names = [os.path.basename(name) for name in listed]
    by_name = {os.path.basename(n): label for n, label in listed.items() if names.count(os.path.basename(n)) == 1}
    truth, predicted = [], []
    for line in Path(path).read_text(encoding='utf-8').splitlines():
        said = json.loads(line)
        source, best = str(said['source']), said['mean'][0][0]
        label = by_path.get(os.path.realpath(source), by_name.get(os.path.basename(source)))
        if label is None:
            raise ValueError(f"{path}: {source} is not in the config's test data, which has the labels")
        if best not in classes:
            raise ValueError(
                f'{path}: {best!r} is none of the {len(classes)} class names; give --classes as for predict.py'
            )
        truth.append(label)
        predicted.append(list(classes).index(best))
    return truth, predicted
