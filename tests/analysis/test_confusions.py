"""Confusions of a classifier: counted, said and drawn."""

import json
import pickle
import re

import matplotlib
import numpy as np
import pytest
import torch

from mmsvf.analysis.confusions import counted, read_dump, read_predicted

matplotlib.use('Agg')
from matplotlib import pyplot as plt

CLASSES = ['waving', 'jumping', 'diving', 'reading']
TRUTH, PREDICTED = [0, 0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 2, 0]


def test_the_colour_bar_counts_whole_samples():
    """Of few samples, too, of which matplotlib by itself marks fifths."""
    ticks = counted([0, 1], [0, 0], CLASSES).picture().axes[1].get_yticks()
    assert len(ticks) > 1 and (ticks == ticks.round()).all()
    plt.close('all')


def test_counts_are_those_of_mmaction2():
    from mmaction.evaluation import ConfusionMatrix

    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 7, (2, 200))
    found = counted(truth, predicted, [f'c{i}' for i in range(7)]).matrix
    assert (found == ConfusionMatrix.calculate(predicted, truth, num_classes=7).numpy()).all()


def test_what_is_said():
    found = counted(TRUTH, PREDICTED, CLASSES)
    assert found.accuracy == 0.5
    np.testing.assert_array_equal(found.recalls(), [0.25, 1, 0.5, np.nan])
    assert found.pairs(5) == [('waving', 'jumping', 3), ('diving', 'waving', 1)]
    lines = [re.sub(' +', ' ', line).strip() for line in found.text(1).splitlines()]
    assert lines == [
        'recall', '25.0% waving 1 of 4', '50.0% diving 1 of 2', '100.0% jumping 2 of 2', '- reading 0 of 0', '',
        'top-1 50.0% (4 of 8); 4 mistakes, most often', '3 waving taken for jumping',
    ]  # fmt: skip


@pytest.mark.parametrize(('predicted', 'said'), [([0, 1], '0 mistakes'), ([0, 0], '1 mistake')])
def test_few_mistakes_are_said_as_they_are(predicted, said):
    assert re.search(r'of 2\); (.*)$', counted([0, 1], predicted, CLASSES).text(), re.M)[1] == said


@pytest.mark.parametrize('normalize', [False, True])
def test_what_is_drawn(normalize):
    """Each count stands in its cell, and a cell is as dark as its share."""
    figure, axes = plt.subplots(figsize=(4, 4), dpi=100)
    image = counted(TRUTH, PREDICTED, CLASSES).draw(axes, normalize)
    expected = {(0, 0): '25', (0, 1): '75', (1, 1): '100', (2, 2): '50', (2, 0): '50'} if normalize else {
        (0, 0): '1', (0, 1): '3', (1, 1): '2', (2, 2): '1', (2, 0): '1'
    }  # fmt: skip
    assert {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts} == expected
    assert [label.get_text() for label in axes.get_yticklabels()] == CLASSES and 'top-1 50.0% of 8' in axes.get_title()
    assert axes.get_ylabel() == 'true' and axes.get_xlabel() == 'predicted'
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    left, bottom = axes.transData.transform((1 - 0.35, 0 + 0.35))  # a corner of the cell, beside its number
    cell = picture[len(picture) - 1 - int(bottom), int(left)]
    np.testing.assert_allclose(cell, np.array(image.cmap(image.norm(image.get_array()[0, 1]))[:3]) * 255, atol=2)
    plt.close(figure)


def test_of_many_classes_the_most_confused_are_drawn():
    truth = [*range(100), 70, 70, 93]
    predicted = [*range(100), 20, 20, 5]
    found = counted(truth, predicted, [f'c{i}' for i in range(100)])
    assert len(found.drawn()) == 30 and {5, 20, 70, 93} <= set(found.drawn())
    figure, axes = plt.subplots()
    found.draw(axes, True)
    assert 'the 30 most confused of 100 classes' in axes.get_title()
    assert '67' in [text.get_text() for text in axes.texts], 'of all samples of the class'
    plt.close(figure)


def test_what_is_read(tmp_path):
    dump = tmp_path / 'a.pkl'
    samples = [dict(gt_label=torch.tensor([1]), pred_score=torch.tensor([0.1, 0.2, 0.7]))]
    dump.write_bytes(pickle.dumps(samples))
    assert read_dump(dump) == ([1], [2])
    (tmp_path / 'val').mkdir()
    said = [
        dict(source=str(tmp_path / 'val' / 'x.mp4'), mean=[['diving', 0.9]]),
        dict(source='b/y.mp4', mean=[['waving', 1]]),
    ]
    predicted = tmp_path / 'sources.jsonl'
    predicted.write_text('\n'.join(map(json.dumps, said)))
    listed = {str(tmp_path / 'val' / 'x.mp4'): 2, 'elsewhere/x.mp4': 1, 'root/y.mp4': 3}
    assert read_predicted(predicted, listed, CLASSES) == ([2, 3], [2, 0])
    with pytest.raises(ValueError, match=r"y\.mp4 is not in the config's test data"):
        read_predicted(predicted, {**listed, 'again/y.mp4': 0}, CLASSES)
    with pytest.raises(ValueError, match=r"'diving' is none of the 1 class names; give --classes"):
        read_predicted(predicted, listed, ['class 0'])


@pytest.mark.parametrize(
    'samples, message',
    [
        ([dict(pred_sem_seg=1)], 'no gt_label and pred_score'),
        ([dict(gt_label=[0, 1, 1], pred_score=[0.1, 0.2])], 'several labels'),
    ],
)
def test_what_is_no_classification_is_named(samples, message, tmp_path):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(samples))
    with pytest.raises(ValueError, match=message):
        read_dump(tmp_path / 'a.pkl')


def test_labels_without_names_are_named():
    with pytest.raises(ValueError, match='labels from 0 to 2, but 2 class names'):
        counted(TRUTH, PREDICTED, CLASSES[:2])
    with pytest.raises(ValueError, match='0 labels and 0 predictions'):
        counted([], [], CLASSES)
