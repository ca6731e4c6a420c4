"""A trained model that looks at videos frame by frame, at the same cost for each frame however long the video is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmsvf.arguments import check_arguments
from mmsvf.spiking.folding import is_fused
from mmsvf.spiking.fusion import fuse as fused
from mmsvf.spiking.state import State, fingerprint


class Stream:
    """A model's predictions of each frame as it comes.

    ::

        stream = Stream(model)
        for sample in stream(frames):  # of one video
            print(sample.pred_label)

        state = None  # of two, with the state in hand: to save it, or to have streams join, leave and restart
        for frame_of_each in zip(camera_a, camera_b):
            samples, state = stream.step(frame_of_each, state)

    It holds the model and no state, so one may serve any number of videos and threads. The states it gives are of its
    model as it was at first; those of another are refused.

    Args:
        model: A :class:`ClipRecognizer`, :class:`VideoPoseEstimator` or :class:`ClipEncoderDecoder` whose backbone
            reads no frames to come: attention with ``space_time='causal'``, 'neuron' or 'spatial'.
        fuse: Take the exact inference form of the model (:func:`mmsvf.fuse`), unless it is that already.
        **options: Of the model's ``step``: ``recent`` of a recognizer, ``clip_length`` of a segmentor.

    Raises:
        ValueError: a model that cannot go frame by frame; the message names the option that makes it one that can.
    """

    def __init__(self, model: Any, fuse: bool = True, **options: Any) -> None:
        reason = why_not(model)
        if reason:
            raise ValueError(reason)
        check_arguments(model.step, ['inputs', *options], f'a stream of {type(model).__name__}')
        self.model: Any = fused(model) if fuse and not is_fused(model) else model.eval()
        self.options = options
        self.name = fingerprint(self.model)
        if next(self.model.parameters()).device.type == 'cpu':
            # or every convolution would turn its weights anew for every frame
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, frames: Iterable[Any], state: State | None = None) -> Iterator[Any]:
        """Predict frames lazily.

        Args:
            frames: Tensors or arrays (C, H, W) of one video, as the model's data preprocessor takes them; or
                sequences of them, one per stream, as ``zip`` makes them of several videos.
            state: Where to go on; None: a new video.

        Yields:
            A data sample per frame; of several streams a list of them.
        """
        for frame in frames:
            single = getattr(frame, 'ndim', 0) == 3  # a tensor or an array
            samples, state = self.step([frame] if single else frame, state)
            yield samples[0] if single else samples

    @torch.no_grad()
    def step(
        self, frames: Sequence[Tensor] | Tensor, state: State | None = None, data_samples: list | None = None
    ) -> tuple[list, State]:
        """Predictions of the next frame of each stream, and the state that the one after it needs.

        Args:
            frames: A tensor (C, H, W) per stream, all of one size, as the model's data preprocessor takes them: the
                values and the order of the colours are those of its config's pipeline.
            state: What the last step returned; None before the first frame.
            data_samples: The framework's, one per stream; None: new ones.

        Raises:
            ValueError: no frame, frames of different sizes, or a state of others or of another model.
        """
        if isinstance(state, State):
            state.check(self.name)
        images = [torch.as_tensor(frame) for frame in frames]
        if not images or any(image.dim() != 3 or image.shape != images[0].shape for image in images):
            raise ValueError(
                f'a frame (channels, height, width) of each stream expected, all of one size; got '
                f'{[tuple(image.shape) for image in images]}'
            )
        model, views = self.model, self.model.views
        channels = getattr(model.backbone, 'in_channels', images[0].shape[0])
        if images[0].shape[0] != channels:
            raise ValueError(
                f'frames of shape {tuple(images[0].shape)}; ({channels}, height, width) expected: of a frame as OpenCV '
                'gives it (height, width, channels) frame.permute(2, 0, 1)'
            )
        samples = model.samples(images, data_samples)
        clips = [image[None, :, None] for image in images] if views else images  # (views, C, T, H, W)
        data = model.data_preprocessor(dict(inputs=clips, data_samples=samples), False)
        inputs = data['inputs'][:, 0, :, 0] if views else data['inputs']
        samples, state = model.step(inputs, state, data['data_samples'], **self.options)
        return samples, replace(state, model=self.name)


def why_not(model: Any) -> str | None:
    """Why a model cannot go frame by frame, and what could; None: it can."""
    if not hasattr(model, 'check_streams'):
        return (
            f'{type(model).__name__} cannot go frame by frame; ClipRecognizer, VideoPoseEstimator and '
            "ClipEncoderDecoder can, on a backbone with attention=dict(space_time='causal')"
        )
    try:
        model.check_streams()
    except ValueError as error:
        return str(error)
    return None
