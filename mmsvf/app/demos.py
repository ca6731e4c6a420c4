"""The models that the page offers: those of ``configs/demo`` with their checkpoints, and the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mmengine

from mmsvf.apis.predictor import Predictor
from mmsvf.files.zoo import weights_file

METAFILE = Path('configs', 'demo', 'metafile.yml')
# title and what to know of each; a model that is not here has the name of its task
WORDS = {
    'svf_moving_digits': ('Actions', 'Which way does a digit move? One of eight directions.'),
    'svf_delayed_match': ('A match over a delay', 'In which corner is the colour of the first frame, at the end?'),
    'svf_moving_scenes': ('Segmentation', 'What is each pixel? Frame by frame.'),
    'svf_moving_scenes_vss': (
        'Segmentation with a memory',
        'A part of each frame is covered on purpose: earlier frames tell what is behind.',
    ),
    'svf_moving_body': ('Human pose', "A body's joints in space, from frames."),
    'svf_moving_body_event': ('Human pose from events', 'The same from the events of an event camera.'),
}


@dataclass
class DemoModel:
    """A model of the page, loaded when it is first asked for.

    Attributes:
        name: Unique.
        title, note: For people.
        data: The demo data set whose samples it takes; None takes all of them.
        load: Makes its predictor.
        side: Pixels of the longer side of frames, where its test pipeline takes them as large as they come.
    """

    name: str
    title: str
    note: str
    data: str | None
    load: Callable[[], Predictor]
    side: int | None = None
    _predictor: Predictor | None = None

    @property
    def predictor(self) -> Predictor:
        """The predictor."""
        if self._predictor is None:
            self._predictor = self.load()
        return self._predictor


def load_predictor(config: Any, checkpoint: str, device: str | None, classes: str | None = None) -> Predictor:
    """A predictor of the plain model: its layers are those whose spikes, attention and energy are shown.

    Raises:
        FileNotFoundError, ImportError, ValueError: see :meth:`Predictor.from_config`.
    """
    return Predictor.from_config(config, checkpoint, device, fuse=False, classes=classes)


def demo_models(root: Path, device: str | None) -> list[DemoModel]:
    """The models of ``configs/demo`` with a checkpoint, as its metafile lists them.

    Args:
        root: Folder of ``configs`` and ``checkpoints``.
        device: Such as 'cpu'; None takes a GPU if there is one.
    """
    models = []
    for entry in mmengine.load(root / METAFILE)['Models']:
        if 'Weights' not in entry:  # a config whose checkpoint is not shipped
            continue
        result = entry['Results'][0]
        title, note = WORDS.get(entry['Name'], (result['Task'], ''))
        measured = ', '.join(f'{name} {value}' for name, value in result['Metrics'].items())
        load = partial(load_predictor, str(root / entry['Config']), str(weights_file(root, entry)), device)
        data = entry['Metadata']['Training Data'].split(',')[0]
        side = None
        if result['Task'] == 'Semantic Segmentation':  # at another scale than trained at it sees other things
            side = max(map(int, str(entry['Metadata']['Resolution']).split('x')))
        text = f'{note} {measured} on {result["Dataset"]}.'
        models.append(DemoModel(entry['Name'], title, text, data, load, side))
    return models
