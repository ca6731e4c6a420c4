"""What all backbones here share: clips and images in, feature maps of chosen stages out.

Letters: ``T`` time step, ``B`` batch, ``C`` channels, ``H W`` space. Outside BCTHW (video) or BCHW (image); inside
TBCHW.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, channels_last, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsvf.arguments import check_arguments, check_count, check_filled
from mmsvf.files.load_report import compare
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.folding import is_fused
from mmsvf.spiking.layers import over_images
from mmsvf.spiking.recompute import recomputed
from mmsvf.spiking.state import State


class ClipBackbone(BaseModule):
    """A chain of stages on clips, with OpenMMLab's options of a backbone.

    A subclass hands over the width and the stride of each stage, sets ``stages`` (modules from TBCHW to TBCHW), then
    calls ``_freeze``. Weights of another size are an error when they are loaded, not a warning.

    Args:
        widths: Channels of the stages.
        strides: Strides of the stages against the input: 2, 4, ...
        in_channels: Channels of the input: 3 for frames, or an event stream's bins per step.
        time_steps: How many times an image (BCHW) is shown; None shows it once. A video
            brings its own T.
        keep_time: Return an image's feature maps of each time step (BCTHW), which
            :class:`SpikeImageClsHead` takes, instead of their mean (BCHW), which all other image
            heads take.
        out_indices: Stages whose outputs are returned; None: the last.
        output: 'tensor' returns the one feature map of ``out_indices`` (what mmaction2's heads
            take), 'tuple' a tuple of them (what all other frameworks take).
        frozen_stages: Stages 0 to this one are frozen (parameters and statistics); -1: none.
        frozen_modules: Names of other modules that are, or the name of one, such as 'stages.3.downsample', which
            belongs to stage 3 and hands it the features of stage 2. '' and None: none.
        norm_eval: Whether all BatchNorms keep their statistics in training.
        with_cp: Recompute each stage in the backward pass instead of keeping its activations;
            gradients and statistics are the same.
        pretrained: Accepted since mmsegmentation writes it; a path sets ``init_cfg``.
        init_cfg: MMEngine's initialisation config, such as ``dict(type='Pretrained',
            checkpoint=..., prefix='backbone.')``.

    Raises:
        ValueError: an unknown option or value; the message has the allowed ones.
    """

    stages: nn.ModuleList
    per_frame = False  # whether every membrane restarts at each step

    def __init__(
        self,
        widths: Sequence[int],
        strides: Sequence[int],
        in_channels: int = 3,
        time_steps: int | None = None,
        keep_time: bool = False,
        out_indices: Sequence[int] | None = None,
        output: str = 'tensor',
        frozen_stages: int = -1,
        frozen_modules: str | Sequence[str] | None = (),
        norm_eval: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
        **unknown: Any,
    ) -> None:
        check_arguments(type(self), unknown, type(self).__name__)
        if isinstance(pretrained, str) and init_cfg is None:
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(init_cfg=init_cfg)
        self.widths, self.strides = tuple(widths), tuple(strides)
        stages = range(len(self.widths))
        out_indices = (stages[-1],) if out_indices is None else tuple(out_indices)
        if not out_indices or any(i not in stages for i in out_indices):
            raise ValueError(f'out_indices={out_indices}; choose stages from {tuple(stages)}')
        if output not in ('tensor', 'tuple') or (output == 'tensor' and len(out_indices) > 1):
            raise ValueError(
                f'output={output!r} with out_indices={out_indices}: "tensor" for one stage (mmaction2), "tuple" for '
                'any number (mmsegmentation, mmpose, mmdetection, mmpretrain)'
            )
        if frozen_stages not in (-1, *stages):
            raise ValueError(f'frozen_stages={frozen_stages}; choose from -1 (none) to {stages[-1]} (all)')
        if time_steps is not None:
            check_count('time_steps', time_steps, ', or None to show an image once')
        self.in_channels, self.time_steps, self.keep_time = in_channels, time_steps or 1, keep_time
        self.out_indices, self.output = out_indices, output
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        names = frozen_modules or ()  # '' is what --cfg-options frozen_modules= gives
        self.frozen_modules = (names,) if isinstance(names, str) else tuple(names)
        self.recomputed_stages: Sequence[int] = stages if with_cp else ()
        # what a hook on a module sees of the feature maps: Grad-CAM's target layer 'backbone/features/4'
        self.features = nn.ModuleList(nn.Identity() for _ in stages)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the returned feature maps, in the order of ``out_indices``."""
        return tuple(self.widths[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Feature maps of a video BCTHW (as BCTHW) or of an image BCHW (as BCHW, or BCTHW with ``keep_time``)."""
        if x.dim() not in (4, 5) or x.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}(in_channels={self.in_channels}) takes a video (batch, {self.in_channels} '
                f'channels, time, height, width) or an image (batch, {self.in_channels} channels, height, width); got '
                f'shape {tuple(x.shape)}: set in_channels, or have the data preprocessor deliver this layout (NCTHW)'
            )
        image, x = x.dim() == 4, x.to(next(self.parameters()).dtype)  # preprocessors give fp32 whatever the model is in
        check_filled(type(self).__name__, x, f'batch, channels, {"" if image else "time, "}height, width')
        x = x.unsqueeze(0).expand(self.time_steps, -1, -1, -1, -1) if image else x.permute(2, 0, 1, 3, 4)
        steps, outs = x.shape[0], {}
        restarts = self.per_frame and steps > 1  # no view of a single image (mmsvf/spiking/from_rest.py: to_steps)
        if restarts:
            x = x.reshape(1, -1, *x.shape[2:])
        if x.device.type == 'cpu':  # convolutions there are several times as fast (benchmarks/model.py)
            x = over_images(lambda images: images.contiguous(memory_format=channels_last), x)
        for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
            x = recomputed(stage, x) if i in self.recomputed_stages else stage(x)
            if i in self.out_indices:
                out = x.reshape(steps, -1, *x.shape[2:]) if restarts else x
                outs[i] = self.features[i](out.mean(0) if image and not self.keep_time else out.permute(1, 2, 0, 3, 4))
        return outs[self.out_indices[0]] if self.output == 'tensor' else tuple(outs[i] for i in self.out_indices)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor | tuple[Tensor, ...], State]:
        """Feature maps of the next frame of each video, BCHW, and the state that the one after it needs.

        Frame by frame they are those of the whole video. Nothing is kept in the backbone, which may serve any number of
        videos at a time.

        Args:
            x: The frame BCHW; or the next frames BCTHW, whose feature maps are BCTHW.
            state: What the last step returned; None before the first frame.

        Raises:
            ValueError: an attention that reads frames to come, or a state of other frames or another network.
        """
        clip = x.unsqueeze(2) if x.dim() == 4 else x
        run = Continuation(state)
        run.seen(x)  # refuses another number of streams
        y = run.of(self)(clip)
        if x.dim() == 4:
            y = y.squeeze(2) if isinstance(y, Tensor) else tuple(out.squeeze(2) for out in y)
        return y, run.state(x, clip.shape[2])

    def _freeze(self) -> None:
        modules = {name: module for name, module in self.named_modules() if name}  # '' is the backbone
        if unknown := [name for name in self.frozen_modules if name not in modules]:
            near = get_close_matches(unknown[0], modules, 3, 0.0)
            raise ValueError(
                f'frozen_modules: {type(self).__name__} has no module {unknown[0]!r}; did you mean one of {near}?'
            )
        for frozen in (*self.stages[: self.frozen_stages + 1], *(modules[name] for name in self.frozen_modules)):
            frozen.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> ClipBackbone:
        """As ``nn.Module.train``, but frozen stages and, with ``norm_eval``, all norms stay in evaluation."""
        super().train(mode)
        if mode:
            self._freeze()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = 'backbone.') -> tuple[int, int]:
        """Depth of a parameter and the number of layers, for layer-wise learning-rate decay (mmpretrain).

        A stage is a layer; what is not of the backbone (a head) comes last.
        """
        layers = len(self.widths) + 1
        inside = param_name.startswith(prefix)
        return int(param_name[len(prefix) :].split('.')[1]) if inside else layers - 1, layers

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Refuse what MMEngine would only warn of: weights of another arch, or none that fit.

        Raises:
            ValueError: tensors of another size, or not one that fits; of a fused form, any that does not.
        """
        given = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
        report = compare(self.state_dict(), given)
        if report.mis_sized or (given and not report.loaded):
            advice = (
                "choose backbone.arch and in_channels of the file, or the file's part that is a backbone: "
                "init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')"
            )
            raise ValueError(
                f'the weights do not fit {type(self).__name__} of widths {self.widths}: {report}; {advice}'
            )
        if (report.new or report.dropped) and is_fused(self):
            raise ValueError(
                f'{type(self).__name__} is the fused form, and the weights are of another: {report}; load them into '
                'the model as its config builds it, then take mmsvf.fuse(model)'
            )
        if not prefix:  # otherwise the report of the whole model counts these, too
            print_log(f'{type(self).__name__}: {report}', logger='current')
        super()._load_from_state_dict(state_dict, prefix, *args)
