"""Spiking ResNets: SEW-ResNet (NeurIPS 2021), MS-ResNet (TNNLS 2024), MA-SNN (TPAMI 2023): spikingjelly's models."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import functional, layer
from torch import nn

from mmsvf.registry import MODELS
from mmsvf.spiking.neuron import NeuronSpec, build_neuron

from .clip_backbone import ClipBackbone

try:
    from spikingjelly.activation_based.model import masnn, ms_resnet, sew_resnet
except ImportError as error:
    raise ImportError('spiking ResNets need spikingjelly 2.0: pip install spikingjelly==2.0.0') from error

STRIDES = (2, 4, 8, 16, 32)
SEW_DEPTHS = {
    '18': (sew_resnet.BasicBlock, (2, 2, 2, 2)),
    '34': (sew_resnet.BasicBlock, (3, 4, 6, 3)),
    '50': (sew_resnet.Bottleneck, (3, 4, 6, 3)),
    '101': (sew_resnet.Bottleneck, (3, 4, 23, 3)),
    '152': (sew_resnet.Bottleneck, (3, 8, 36, 3)),
}
MS_DEPTHS = {'18': (2, 2, 2, 2), '34': (3, 4, 6, 3), '104': (3, 8, 32, 8)}


def depths_of(arch: Any, known: dict[str, Any]) -> Any:
    """The entry of an ``arch``, which may be a number."""
    if str(arch) not in known:
        raise ValueError(f'arch={arch!r}; choose one of {sorted(known, key=int)}')
    return known[str(arch)]


@MODELS.register_module()
class SEWResNet(ClipBackbone):
    """SEW-ResNet: shortcuts combine spikes, so with 'ADD' what its layers see are small integers.

    Stage 0 is the stem (stride 2), stages 1 to 4 are those of a ResNet (strides 4, 8, 16, 32).

    Args:
        arch: '18', '34', '50', '101' or '152'.
        in_channels: Channels of the input: 3 for frames, or an event stream's bins per step.
        connect: How a shortcut combines spikes: 'ADD' as published, 'AND' or 'IAND'.
        neuron: See :func:`mmsvf.spiking.build_neuron`; None: integrate-and-fire with an arctan gradient, as published.
        **kwargs: Options of :class:`ClipBackbone`.

    Raises:
        ValueError: an unknown arch, option or value; the message has the allowed ones.
    """

    def __init__(
        self,
        arch: str = '152',
        in_channels: int = 3,
        connect: str = 'ADD',
        neuron: NeuronSpec | None = None,
        **kwargs: Any,
    ) -> None:
        block, depths = depths_of(arch, SEW_DEPTHS)
        if connect not in ('ADD', 'AND', 'IAND'):
            raise ValueError(f"connect={connect!r}; choose one of 'ADD', 'AND', 'IAND'")
        widths = (64, *(width * block.expansion for width in (64, 128, 256, 512)))
        super().__init__(widths, STRIDES, in_channels, **kwargs)
        spec = dict(type='IF', surrogate_function=dict(type='ATan', alpha=2.0)) if neuron is None else neuron
        model: Any = sew_resnet.SEWResNet(
            block, depths, num_classes=1, cnf=connect, spiking_neuron=lambda: build_neuron(spec)
        )
        if in_channels != 3:
            model.conv1 = layer.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
            nn.init.kaiming_normal_(model.conv1.weight, mode='fan_out', nonlinearity='relu')
        functional.set_step_mode(model, 'm')
        self.stages = nn.ModuleList(
            [
                nn.Sequential(model.conv1, model.bn1, model.sn1),
                nn.Sequential(model.maxpool, model.layer1),
                *(model.layer2, model.layer3, model.layer4),
            ]
        )
        self._freeze()


@MODELS.register_module()
class MSResNet(ClipBackbone):
    """MS-ResNet: membranes pass the shortcuts. With ``attention`` MA-SNN's Att-MS-ResNet.

    Stage 0 is the stem (stride 2), stages 1 to 4 are those of a ResNet (strides 4, 8, 16, 32). The 1x1 convolutions of
    its down-sampling shortcuts see membranes, and so does MA-SNN's attention, which multiplies by real numbers.

    Args:
        arch: '18', '34' or '104'.
        in_channels: Channels of the input: 3 for frames, or an event stream's bins per step.
        attention: Whether each residual branch ends with channel and spatial attention (MA-SNN's CSA).
        neuron: See :func:`mmsvf.spiking.build_neuron`; None: as published, with a rectangular gradient.
        **kwargs: Options of :class:`ClipBackbone`.

    Raises:
        ValueError: an unknown arch, option or value; the message has the allowed ones.
    """

    def __init__(
        self,
        arch: str = '104',
        in_channels: int = 3,
        attention: bool = False,
        neuron: NeuronSpec | None = None,
        **kwargs: Any,
    ) -> None:
        depths = depths_of(arch, MS_DEPTHS)
        super().__init__((64, 64, 128, 256, 512), STRIDES, in_channels, **kwargs)
        spec = neuron or dict(
            type='LIF', tau=4 / 3, decay_input=False, v_threshold=0.5, v_reset=0.0,
            surrogate_function=dict(type='Rect', alpha=1.0 if attention else 2.0),
        )  # fmt: skip

        def build(**_: Any) -> nn.Module:
            return build_neuron(spec)

        kind = masnn.AttMSResNet if attention else ms_resnet.MSResNet
        model: Any = kind(in_channels=in_channels, num_classes=1, layers=depths, spiking_neuron=build)
        functional.set_step_mode(model, 'm')
        self.stages = nn.ModuleList([model.stem, model.layer1, model.layer2, model.layer3, model.layer4])
        self.attention = attention
        self._freeze()

    def check_causal(self) -> None:
        """Raise ValueError with attention, which weighs time steps by all of them."""
        if self.attention:
            raise ValueError(
                'MSResNet(attention=True) weighs each frame by all of the clip: frame by frame it takes attention=False'
            )
