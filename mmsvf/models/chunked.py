"""Training on clips that are too long for the memory: truncated backpropagation through time.

A clip goes through in chunks, with the state carried from one to the next and cut out of the gradient between them.
The losses of a chunk are differentiated before the next chunk is computed, so that the memory holds one chunk however
long the clip is. What a training loop gets are the losses of the whole clip, whose gradient is known already: scaling,
accumulation, processes that share their gradients, clipping and checks are those of any training, with one step of the
optimizer an iteration, and nothing is carried to the next.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmsvf.arguments import check_count
from mmsvf.models.streamed import StreamedModel
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.state import State


class ChunkedTraining(StreamedModel):
    """Mix-in of the models that train on chunks of a clip.

    Args:
        *args: As of the model.
        chunk_frames: Frames of a chunk; None trains on clips as a whole. Gradients are those within a chunk, losses
            the means over all frames, and BatchNorms see a chunk at a time.
        **kwargs: As of the model.

    Raises:
        ValueError: no such number of frames, or a model that reads frames to come.
    """

    def __init__(self, *args: Any, chunk_frames: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chunk_frames = chunk_frames
        if chunk_frames is not None:
            check_count('chunk_frames', chunk_frames, ', or None to train on clips as a whole')
            self.check_streams()

    def chunk_losses(self, run: Continuation, maps: Any, data_samples: list, first: int) -> dict[str, Tensor]:
        """Losses of a chunk, means over its frames, of its feature maps; ``first`` is the number of its first frame."""
        raise NotImplementedError

    def losses_in_chunks(self, clips: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of clips BCTHW; they hold no more of the graph than gradients of the parameters.

        Raises:
            ValueError: under autocast to float16, whose scale the gradients of a chunk would lack.
        """
        device = clips.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
            raise ValueError(
                f'chunk_frames={self.chunk_frames} with float16, whose loss scale does not reach the gradients of a '
                "chunk: set optim_wrapper.dtype='bfloat16', or train without --amp"
            )
        gradients: dict[Tensor, Tensor] = {}
        losses: dict[str, Tensor] = {}
        state: State | None = None
        first, frames = 0, clips.shape[2]
        for chunk in clips.split(self.chunk_frames, 2):
            share = chunk.shape[2] / frames
            parts, state = self._differentiate(chunk, state, data_samples, first, share, gradients)
            first += chunk.shape[2]
            for name, value in parts.items():  # what is no loss, such as an accuracy: the last
                losses[name] = share * value + losses.get(name, 0) if 'loss' in name else value
        if gradients:
            name = next(name for name in losses if 'loss' in name)
            losses[name] = _Known.apply(losses[name], tuple(gradients.values()), *gradients)
        return losses

    def _differentiate(
        self, chunk: Tensor, state: State | None, data_samples: list, first: int, share: float,
        gradients: dict[Tensor, Tensor],
    ) -> tuple[dict[str, Tensor], State]:  # fmt: skip
        """Add a chunk's gradients to those before; returns its losses and the state behind it, without a graph."""
        model: Any = self
        run = Continuation(state)
        maps = self.features(run, chunk)
        total, parts = model.parse_losses(self.chunk_losses(run, maps, data_samples, first))
        state = run.state(chunk, chunk.shape[2]).detach()
        if torch.is_grad_enabled():
            learning = [p for p in model.parameters() if p.requires_grad]
            with torch.autocast(chunk.device.type, enabled=False):  # as any backward pass
                found = torch.autograd.grad(share * total, learning, allow_unused=True)
            for parameter, gradient in zip(learning, found):
                if gradient is not None:
                    known = gradients.get(parameter)
                    # not in place: two parameters may share a gradient
                    gradients[parameter] = gradient if known is None else known + gradient
        del parts['loss']  # their sum, which the loop makes anew
        return {name: value.detach() for name, value in parts.items()}, state


class _Known(torch.autograd.Function):
    """A value whose gradients are known: ``apply(value, gradients, *parameters)``."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: tuple[Tensor, ...], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *(grads[0] * gradient for gradient in ctx.gradients))
