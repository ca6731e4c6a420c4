"""Whole models frame by frame: what recognizer, pose estimator and segmentor share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from mmsvf.spiking.continuation import Continuation


class StreamedModel:
    """Mix-in of the models with a ``step``: predictions of the next frame, and the state that the one after it needs.

    Attributes:
        sample_type: The framework's data sample.
        views: Whether its data preprocessor takes clips with their number of views in front.
        neck_of_images: Whether its neck sees single frames; another may join them.
    """

    sample_type: ClassVar[type]
    views: ClassVar[bool] = False
    neck_of_images: ClassVar[bool] = False
    backbone: Any

    def check_streams(self) -> None:
        """Raise ValueError where the model cannot go frame by frame; the message says how one can that does."""
        if not hasattr(self.backbone, 'step'):
            raise ValueError(
                f'{type(self.backbone).__name__} cannot go frame by frame; backbones with a step can, such as '
                "SpikeVideoFormer with attention=dict(space_time='causal')"
            )
        if getattr(self, 'with_neck', False) and not self.neck_of_images:
            raise ValueError(f'the neck {type(self.neck).__name__} joins frames of a clip: a stream has none')  # type: ignore[attr-defined]
        for module in self.backbone.modules():
            if check := getattr(module, 'check_causal', None):
                check()

    def features(self, run: Continuation, inputs: Tensor) -> Any:
        """Feature maps BCTHW of the next frames, BCTHW or BCHW for one."""
        if run.before is None:
            self.check_streams()
        run.seen(inputs)  # refuses another number of streams
        return run.of(self.backbone, 'backbone')(inputs.unsqueeze(2) if inputs.dim() == 4 else inputs)

    def samples(self, inputs: Sequence[Tensor] | Tensor, data_samples: list | None) -> list:
        """The data samples given, one per frame, or new ones with the size of the frames (C, H, W)."""
        if data_samples is not None:
            if len(data_samples) != len(inputs):
                raise ValueError(f'{len(data_samples)} data samples for frames of {len(inputs)} streams; one for each')
            return data_samples
        size = tuple(inputs[0].shape[-2:])
        return [self.sample_type(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size)) for _ in inputs]


def last_of(run: Continuation, name: str, frames: int, **values: Tensor) -> dict[str, Tensor]:
    """The values of the last frames, (B, frames, ...), those of this one (B, ...) at the end; zeros before the first.

    Raises:
        ValueError: the state has another number of frames.
    """
    past = run.past(name) or {k: x.new_zeros(len(x), frames, *x.shape[1:]) for k, x in values.items()}
    found = {}
    for key, value in values.items():
        if past[key].shape[1] != frames:
            raise ValueError(
                f'the state has the last {past[key].shape[1]} frames of {name!r}, and {frames} are asked for: start '
                'with state=None'
            )
        found[key] = past[key].roll(-1, 1)
        found[key][:, -1:] = value.unsqueeze(1)
    run.keep(name, found)
    return found
