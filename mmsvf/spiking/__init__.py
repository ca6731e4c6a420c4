"""The parts of SpikeVideoFormer in plain PyTorch and spikingjelly."""

from ..frameworks import require

require('spikingjelly', 'mmsvf.spiking')

from .attention import SpikeAttention
from .blocks import SpikeConvBlock, SpikeTransformerBlock
from .causal import causal_attention
from .hamming import dot_attention, hamming_attention, hamming_similarity, hamming_similarity_bilinear
from .layers import ChannelConv, ChannelMLP, Downsample, RepConv, SepConv, SpikeConv, unroll
from .memory import MemoryRead
from .neuron import LIF, IntegerLIF, LearnableLIF, build_neuron, sum_sub_steps, unroll_integer_spikes
from .state import State

__all__ = [
    'LIF',
    'ChannelConv',
    'ChannelMLP',
    'Downsample',
    'IntegerLIF',
    'LearnableLIF',
    'MemoryRead',
    'RepConv',
    'SepConv',
    'SpikeAttention',
    'SpikeConv',
    'SpikeConvBlock',
    'SpikeTransformerBlock',
    'State',
    'build_neuron',
    'causal_attention',
    'dot_attention',
    'hamming_attention',
    'hamming_similarity',
    'hamming_similarity_bilinear',
    'sum_sub_steps',
    'unroll',
    'unroll_integer_spikes',
]
