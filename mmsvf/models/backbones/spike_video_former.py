"""SpikeVideoFormer backbone (ICML 2025, arXiv 2505.10352).

Letters: ``T`` time step, ``B`` batch, ``C`` channels, ``H W`` space. Outside BCTHW (video) or
BCHW (image); inside TBCHW.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, channels_last, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsvf.load_report import compare
from mmsvf.registry import MODELS
from mmsvf.spiking.arguments import check_arguments
from mmsvf.spiking.blocks import SpikeConvBlock, SpikeTransformerBlock
from mmsvf.spiking.layers import Downsample, over_images
from mmsvf.spiking.neuron import NeuronSpec
from mmsvf.spiking.recompute import recomputed

DEPTHS = (1, 1, 2, 6, 2)
ARCHS: dict[str, dict[str, Any]] = {
    # Table 7; the code's last width of the small model is 360, the table's is 320 (D1)
    'small': dict(embed_dims=(32, 64, 128, 256, 360), depths=DEPTHS),
    'medium': dict(embed_dims=(48, 96, 192, 384, 480), depths=DEPTHS),
    'large': dict(embed_dims=(64, 128, 256, 512, 640), depths=DEPTHS),
    'x-large': dict(embed_dims=(96, 192, 384, 768, 960), depths=DEPTHS),
}
KERNELS = (7, 3, 3, 3, 3)
STRIDES = (2, 2, 2, 2, 1)
CONV_STAGES = 3


def arch_settings(embed_dims: Sequence[int], depths: Sequence[int] = DEPTHS) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check an ``arch``: a width and a number of blocks for each of the five stages."""
    for name, values in (('embed_dims', embed_dims), ('depths', depths)):
        if len(values) != len(STRIDES) or not all(isinstance(v, int) and v > 0 for v in values):
            raise ValueError(f'arch {name}={values!r}: five positive integers, one a stage, such as {ARCHS["small"]}')
    return tuple(embed_dims), tuple(depths)


class Stage(nn.Module):
    """Downsample -> blocks; TBCHW to TBCHW."""

    def __init__(self, downsample: Downsample, blocks: list[nn.Module], with_cp: bool) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        x = recomputed(self.downsample, x) if self.with_cp else self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


@MODELS.register_module()
class SpikeVideoFormer(BaseModule):
    """Spike-driven video transformer: three convolutional stages, two attention stages.

    A forward starts from rest and leaves no state behind. Weights of another size are an error
    when they are loaded, not a warning.

    Args:
        arch: 'small', 'medium', 'large', 'x-large', or ``dict(embed_dims=(...), depths=(...))``
            with five integers each. Strides of the stages are 2, 4, 8, 16, 16.
        in_channels: Channels of the input: 3 for frames, or an event stream's bins a step.
        time_steps: How many times an image (BCHW) is shown; None shows it once. A video
            brings its own T.
        keep_time: Return an image's feature maps of each time step (BCTHW), which
            :class:`SpikeImageClsHead` takes, instead of their mean (BCHW), which all other image
            heads take.
        heads: Attention heads; they divide the last two widths.
        mlp_ratio: Hidden width of the channel MLP over its width.
        attention: Further arguments of :class:`mmsvf.spiking.SpikeAttention`, such as
            ``dict(score='dot', space_time='hierarchical', scale=0.125, norm=False)``. With
            ``space_time='spatial'`` every membrane of the network restarts at each step.
        neuron: 'official', 'paper' or a dict; see :func:`mmsvf.spiking.build_neuron`.
        out_indices: Stages (0 to 4) whose outputs are returned.
        output: 'tensor' returns the one feature map of ``out_indices`` (what mmaction2's heads
            take), 'tuple' a tuple of them (what all other frameworks take).
        frozen_stages: Stages 0 to this one are frozen (parameters and statistics); -1: none.
        norm_eval: Whether all BatchNorms keep their statistics in training.
        zero_init_residual: Start the last norm of each residual branch at zero, so that every block
            starts as the identity (as in mmpretrain's ResNet), for training from scratch on little
            data; weights that are loaded replace it.
        with_cp: Recompute each block in the backward pass instead of keeping its activations;
            gradients and statistics are the same.
        pretrained: Accepted since mmsegmentation writes it; a path sets ``init_cfg``.
        init_cfg: MMEngine's initialisation config, such as ``dict(type='Pretrained',
            checkpoint=..., prefix='backbone.')``.

    Raises:
        ValueError: an unknown arch, option or value; the message has the allowed ones.
    """

    def __init__(
        self,
        arch: str | dict[str, Any] = 'large',
        in_channels: int = 3,
        time_steps: int | None = None,
        keep_time: bool = False,
        heads: int = 8,
        mlp_ratio: float = 4,
        attention: dict[str, Any] | None = None,
        neuron: NeuronSpec = 'official',
        out_indices: Sequence[int] = (4,),
        output: str = 'tensor',
        frozen_stages: int = -1,
        norm_eval: bool = False,
        zero_init_residual: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if isinstance(pretrained, str) and init_cfg is None:
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(init_cfg=init_cfg)
        if isinstance(arch, str) and arch not in ARCHS:
            raise ValueError(f'arch={arch!r}; choose one of {sorted(ARCHS)} or a dict(embed_dims=..., depths=...)')
        settings = ARCHS[arch] if isinstance(arch, str) else arch
        check_arguments(arch_settings, settings, 'arch')
        self.embed_dims, self.depths = arch_settings(**settings)
        stages = range(len(STRIDES))
        out_indices = tuple(out_indices)
        if not out_indices or any(i not in stages for i in out_indices):
            raise ValueError(f'out_indices={out_indices}; choose stages from {tuple(stages)}')
        if output not in ('tensor', 'tuple') or (output == 'tensor' and len(out_indices) > 1):
            raise ValueError(
                f'output={output!r} with out_indices={out_indices}: "tensor" for one stage (mmaction2), "tuple" for '
                'any number (mmsegmentation, mmpose, mmdetection, mmpretrain)'
            )
        if frozen_stages not in (-1, *stages):
            raise ValueError(f'frozen_stages={frozen_stages}; choose from -1 (none) to {stages[-1]} (all)')
        if time_steps is not None and time_steps < 1:
            raise ValueError(f'time_steps={time_steps}; at least 1, or None to show an image once')
        self.in_channels, self.time_steps, self.keep_time = in_channels, time_steps or 1, keep_time
        self.out_indices, self.output = out_indices, output
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.per_frame = (attention or {}).get('space_time') == 'spatial'

        def block(stage: int) -> nn.Module:
            width = self.embed_dims[stage]
            if stage < CONV_STAGES:
                return SpikeConvBlock(width, neuron=neuron, with_cp=with_cp)
            return SpikeTransformerBlock(width, heads, mlp_ratio, neuron, attention, with_cp)

        widths = (in_channels, *self.embed_dims)
        self.stages = nn.ModuleList(
            Stage(
                Downsample(widths[i], widths[i + 1], KERNELS[i], STRIDES[i], neuron if i else None),
                [block(i) for _ in range(self.depths[i])],
                with_cp,
            )
            for i in stages
        )
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, (SpikeConvBlock, SpikeTransformerBlock)):
                    for norm in module.last_norms():
                        nn.init.zeros_(norm.weight)
        self._freeze()

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the returned feature maps, in the order of ``out_indices``."""
        return tuple(self.embed_dims[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Feature maps of a video BCTHW (as BCTHW) or of an image BCHW (as BCHW, or BCTHW with ``keep_time``)."""
        if x.dim() not in (4, 5) or x.shape[1] != self.in_channels:
            raise ValueError(
                f'SpikeVideoFormer(in_channels={self.in_channels}) takes a video (batch, {self.in_channels} channels, '
                f'time, height, width) or an image (batch, {self.in_channels} channels, height, width); got shape '
                f'{tuple(x.shape)}: set in_channels, or have the data preprocessor deliver this layout (NCTHW)'
            )
        image = x.dim() == 4
        x = x.unsqueeze(0).expand(self.time_steps, -1, -1, -1, -1) if image else x.permute(2, 0, 1, 3, 4)
        steps, outs = x.shape[0], {}
        if self.per_frame:
            x = x.reshape(1, -1, *x.shape[2:])
        if x.device.type == 'cpu':  # convolutions there are several times as fast (benchmarks/model.py)
            x = over_images(lambda images: images.contiguous(memory_format=channels_last), x)
        for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
            x = stage(x)
            if i in self.out_indices:
                out = x.reshape(steps, -1, *x.shape[2:])
                outs[i] = out.mean(0) if image and not self.keep_time else out.permute(1, 2, 0, 3, 4)
        return outs[self.out_indices[0]] if self.output == 'tensor' else tuple(outs[i] for i in self.out_indices)

    def _freeze(self) -> None:
        for stage in self.stages[: self.frozen_stages + 1]:
            stage.eval()
            for parameter in stage.parameters():
                parameter.requires_grad = False

    def train(self, mode: bool = True) -> SpikeVideoFormer:
        """As ``nn.Module.train``, but frozen stages and, with ``norm_eval``, all norms stay in evaluation."""
        super().train(mode)
        if mode:
            self._freeze()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Refuse what MMEngine would only warn of: weights of another arch, or none that fit.

        Raises:
            ValueError: tensors of another size, or not one that fits.
        """
        given = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
        report = compare(self.state_dict(), given)
        if report.mis_sized or (given and not report.loaded):
            advice = (
                "choose backbone.arch and in_channels of the file, or the file's part that is a backbone: "
                "init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')"
            )
            raise ValueError(f'the weights do not fit SpikeVideoFormer of widths {self.embed_dims}: {report}; {advice}')
        if not prefix:  # otherwise the report of the whole model counts these, too
            print_log(f'SpikeVideoFormer: {report}', logger='current')
        super()._load_from_state_dict(state_dict, prefix, *args)

    def get_layer_depth(self, param_name: str, prefix: str = 'backbone.') -> tuple[int, int]:
        """Depth of a parameter and the number of layers, for layer-wise learning-rate decay (mmpretrain).

        A down-sampling belongs to the first block behind it; what is not ours (a head) comes last.
        """
        layers = sum(self.depths) + 1
        if not param_name.startswith(prefix):
            return layers - 1, layers
        _, stage, part, *rest = param_name[len(prefix) :].split('.')
        before = sum(self.depths[: int(stage)])
        return before + (int(rest[0]) if part == 'blocks' else 0), layers
