"""Encoder-decoder for clips: mmsegmentation's, with a memory of earlier frames and a clip layout."""

from __future__ import annotations

from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsvf.arguments import check_count, check_filled
from mmsvf.models.finite import FiniteInputs
from mmsvf.models.streamed import StreamedModel, last_of
from mmsvf.registry import MODELS
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.state import State


@MODELS.register_module()
class ClipEncoderDecoder(StreamedModel, FiniteInputs, EncoderDecoder):
    """Segments the last frame of a clip BCTHW (or an image BCHW): backbone -> memory -> neck -> head.

    Args:
        memory: Config of the neck that turns clips into their last frame,
            :class:`MemoryReadFuse`; None for images.
        train_memory_only: Stage 2 of the training: all but the memory is frozen, with its
            parameters, BatchNorm statistics and dropout.
        **kwargs: mmsegmentation's ``EncoderDecoder``; inference may be 'whole' or 'slide'. Also ``check_finite`` of
            :class:`FiniteInputs`.

    Raises:
        ValueError: ``train_memory_only`` without a memory to train.
    """

    sample_type = SegDataSample
    neck_of_images = True

    def __init__(self, memory: dict[str, Any] | None = None, train_memory_only: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.memory = None if memory is None else MODELS.build(memory)
        self.train_memory_only = train_memory_only
        self._clip_length: int | None = None
        if train_memory_only:
            if self.memory is None or not list(self.memory.parameters()):
                raise ValueError('train_memory_only=True needs memory=dict(type="MemoryReadFuse", in_channels=...)')
            for part in self._frozen():
                part.requires_grad_(False)

    def _frozen(self) -> list[Any]:
        return [part for name, part in self.named_children() if name not in ('memory', 'data_preprocessor')]

    def train(self, mode: bool = True) -> ClipEncoderDecoder:
        """As ``nn.Module.train``; with ``train_memory_only`` all but the memory stays in evaluation."""
        super().train(mode)
        if mode and self.train_memory_only:
            for part in self._frozen():
                part.eval()
        return self

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of the last frame, for the decode head."""
        if self._clip_length is not None:
            inputs = inputs.unflatten(1, (-1, self._clip_length))
        x = self.backbone(inputs)
        if self.memory is not None:
            x = self.memory(x)
        return self.neck(x) if self.with_neck else x

    def inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (B, num_classes, H, W); to mmsegmentation's whole and slide inference a clip is an image."""
        if inputs.dim() == 4:
            return super().inference(inputs, batch_img_metas)
        check_filled('ClipEncoderDecoder', inputs, 'batch, channels, time, height, width')
        self._clip_length = inputs.shape[2]
        try:
            return super().inference(inputs.flatten(1, 2), batch_img_metas)
        finally:
            self._clip_length = None

    def predict(self, inputs: Tensor, data_samples: Any = None) -> Any:
        """As ``EncoderDecoder.predict``, of finite values, also for clips without data samples."""
        self.check_inputs(inputs)
        if data_samples is None and inputs.dim() == 5:
            size = inputs.shape[-2:]
            meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0, 0, 0, 0])
            return self.postprocess_result(self.inference(inputs, [dict(meta) for _ in inputs]))
        return super().predict(inputs, data_samples)

    def check_streams(self) -> None:
        """As :meth:`StreamedModel.check_streams`; crops of a frame are no stream either."""
        super().check_streams()
        if (self.test_cfg or {}).get('mode') == 'slide':
            raise ValueError("test_cfg.mode='slide' looks at crops of a frame; a stream takes test_cfg.mode='whole'")

    def step(
        self, inputs: Tensor, state: State | None = None, data_samples: list | None = None, clip_length: int = 4
    ) -> tuple[list, State]:
        """The segmentation of the next frame of each video, and the state that the one after it needs.

        The memory sees the features of the last frames, as it does those of a clip; neck and head see one frame.

        Args:
            inputs: The frames (B, C, H, W), normalised and padded.
            state: What the last step returned; None before the first frame.
            data_samples: Where the segmentations go; None: into new ones.
            clip_length: How many of the last frames the memory sees, this one included: those of a clip in training.

        Raises:
            ValueError: a model that cannot go frame by frame, or a state of other frames or another model.
        """
        check_count('clip_length', clip_length)
        self.check_inputs(inputs)
        run = Continuation(state)
        x = self.features(run, inputs)
        x = tuple(y.squeeze(2) for y in x) if self.memory is None else self._remember(run, x, clip_length)
        x = self.neck(x) if self.with_neck else x
        size = tuple(inputs.shape[-2:])
        logits = self.decode_head.predict(x, [dict(img_shape=size, pad_shape=size) for _ in inputs], self.test_cfg)
        return self.postprocess_result(logits, self.samples(inputs, data_samples)), run.state(inputs, 1)

    def _remember(self, run: Continuation, maps: tuple[Tensor, ...], clip_length: int) -> tuple[Tensor, ...]:
        """What the memory makes of the last frames; streams that have just begun have fewer."""
        scales = {str(i): y.squeeze(2) for i, y in enumerate(maps)}
        clips = [y.transpose(1, 2) for y in last_of(run, 'memory', clip_length, **scales).values()]  # B C T H W
        lengths = (run.seen(maps[0]) + 1).clamp(max=clip_length)
        found = tuple(y.new_empty(y[:, :, -1].shape) for y in clips)
        for length in lengths.unique().tolist():
            streams = (lengths == length).nonzero().flatten()
            for out, y in zip(found, self.memory(tuple(clip[streams, :, -length:] for clip in clips))):
                out[streams] = y
        return found
