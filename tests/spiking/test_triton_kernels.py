"""The neurons' kernels for GPU: equal to the explicit steps, and compiled without what would change a spike.

They run on a GPU where there is one; elsewhere with TRITON_INTERPRET=1 on CPU, as the Makefile does.
"""

import os
import subprocess
import sys

import pytest
import torch

from mmsvf.spiking import clip_ops, surrogates
from mmsvf.spiking.fusion import overwrite
from mmsvf.spiking.neuron import build_neuron

from .test_clip_ops import SPECS, results

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
if not (clip_ops.TRITON and (DEVICE == 'cuda' or os.environ.get('TRITON_INTERPRET') == '1')):
    pytest.skip('neither a GPU nor Triton with TRITON_INTERPRET=1', allow_module_level=True)

from triton.runtime import interpreter  # noqa: E402

from mmsvf.spiking import triton_kernels  # noqa: E402

pytestmark = [pytest.mark.gpu] if DEVICE == 'cuda' else []


@pytest.fixture(autouse=True)
def triton_everywhere(monkeypatch):
    monkeypatch.setattr(clip_ops, 'kernels', lambda x: triton_kernels)
    monkeypatch.setattr(clip_ops, 'NUMBA', True)  # one kernel that fails must not leave the other tests to the steps
    if DEVICE == 'cpu':
        monkeypatch.setattr(interpreter, '_patch_lang_tensor', patch_lang_tensor)


def patch_lang_tensor(*args, original=interpreter._patch_lang_tensor):
    """Triton's interpreter takes ``int`` of arrays with one number, which numpy refuses from 2.5 on."""
    original(*args)
    args[0].__index__ = lambda tensor: tensor.handle.data.item()


@pytest.mark.parametrize('steps', [1, 6, 19])
@pytest.mark.parametrize('spec', SPECS, ids=str)
def test_equals_the_steps(spec, steps):
    """Spikes bit for bit; gradients to rounding; in one chunk and in several, the last of them not full."""
    assert triton_kernels.CHUNK < 19
    neuron, x = build_neuron(spec).to(DEVICE), torch.randn(steps, 2, 3, 7, 13, device=DEVICE) * 2
    expected = results(lambda leaf: neuron.explicit_steps(leaf), neuron, x)
    found = results(neuron, neuron, x)
    assert torch.equal(found[0], expected[0]) and 0.01 < found[0].mean() < 2
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(found[2], expected[2]):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('steps', [1, 6, 19])
@pytest.mark.parametrize('spec', SPECS, ids=str)
def test_goes_on_from_membranes(spec, steps, monkeypatch):
    """Spikes and membranes bit for bit, in two parts, too; the gradient reaches the membranes before the clip."""
    neuron = build_neuron(spec).to(DEVICE).requires_grad_(False)
    x, v = torch.randn(steps, 2, 3, 7, 13, device=DEVICE) * 2, torch.randn(2, 3, 7, 13, device=DEVICE)
    weights = torch.randn_like(x), torch.randn_like(v)

    def run(advances):
        monkeypatch.setattr(clip_ops, 'advances', lambda x: advances)
        leaf, start = x.detach().clone().requires_grad_(), v.clone().requires_grad_()
        spikes, past = neuron.advance(leaf, dict(membrane=start))
        outputs = spikes, past['membrane']
        sum((output * weight).sum() for output, weight in zip(outputs, weights)).backward()
        return [output.detach() for output in outputs], [leaf.grad, start.grad]

    (spikes, membrane), gradients = run(advances=False)
    (mine, my_membrane), my_gradients = run(advances=True)
    assert torch.equal(mine, spikes) and torch.equal(my_membrane, membrane) and 0.01 < spikes.mean() < 2
    torch.testing.assert_close(my_gradients, gradients, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        first, past = neuron.advance(x[: steps // 3 + 1], dict(membrane=v))
        parts = [first]
        if steps > 1:
            rest, past = neuron.advance(x[steps // 3 + 1 :], past)
            parts.append(rest)
    assert torch.equal(torch.cat(parts), spikes) and torch.equal(past['membrane'], membrane)


@pytest.mark.parametrize('dtype', clip_ops.HALF, ids=str)
@pytest.mark.parametrize('spec', ['official', 'LearnableLIF', 'IntegerLIF'])
def test_half_precision(spec, dtype):
    """Clips in half precision have fp32 membranes: the spikes are those of the same clip in fp32."""
    neuron, clip = build_neuron(spec).to(DEVICE), (torch.randn(11, 2, 5, 31, device=DEVICE) * 2).to(dtype)
    leak = neuron.leak() if hasattr(neuron, 'leak') else None
    leak = torch.as_tensor(leak, device=DEVICE).detach() if leak is not None else None
    grad, outputs = torch.randn_like(clip), []
    for x in (clip.float(), clip):
        spikes, grad_x, parts = torch.empty_like(x), torch.empty_like(x), None
        if leak is None:
            triton_kernels.integer_lif(x, spikes, 0.25, 1.0, 4)
            triton_kernels.integer_lif_backward(grad.to(x), x, grad_x, False, 0.25, 1.0, 4)
        else:
            constants = clip_ops._lif_constants(leak, True, 1.0, 0.0, True, False, surrogates.SIGMOID, 4.0)
            triton_kernels.lif(x, spikes, *constants)
            parts = triton_kernels.lif_backward(grad.to(x), x, grad_x, True, *constants)
        outputs.append((spikes, grad_x, parts))
    (spikes, grad_x, parts), (half, half_grad_x, half_parts) = outputs
    assert half.dtype == dtype and torch.equal(half.float(), spikes)
    torch.testing.assert_close(half_grad_x.float(), grad_x, rtol=1e-2, atol=1e-6)  # a last bit: Triton on CPU truncates
    if parts is not None:  # summed in an order that Triton chooses for a type
        torch.testing.assert_close(half_parts, parts)
        assert parts.abs().sum() > 0


def test_in_place_and_layouts():
    neuron, x = build_neuron('official'), torch.randn(5, 2, 8, 6, 7, device=DEVICE) * 2
    expected = neuron.explicit_steps(x)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (5, 2))
    overwrite(neuron)
    with torch.no_grad():
        for clip in (x.clone(), last.clone(), torch.cat([x, x], -1)[..., :7]):
            assert torch.equal(neuron(clip), expected) and torch.equal(clip, expected)
    assert neuron(torch.zeros(4, 0, 3, device=DEVICE)).shape == (4, 0, 3)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mmsvf.spiking import triton_kernels as k
from mmsvf.spiking.surrogates import ATAN, RECT, SIGMOID

def compiled(kernel, capability, types, **constants):
    signature = {**dict(zip(kernel.arg_names, types.split())), **dict.fromkeys(constants, 'constexpr')}
    options = {name: value for name, value in k.OPTIONS.items() if name != 'BLOCK'}
    source = ASTSource(kernel, {**signature, 'BLOCK': 'constexpr'}, {'BLOCK': k.BLOCK, **constants})
    code = triton.compile(source, target=GPUTarget('cuda', capability, 32), options=options).asm
    assert code['cubin'] and 'fma' not in code['ptx'], kernel
    return 1

count = 0
for clip, capability, carried in (('*fp32', 80, False), ('*bf16', 90, True)):
    end = '*fp32' if carried else clip
    lif = f'{clip} {clip} {end} *fp32 i32 i32 fp32 fp32 fp32 fp32'
    count += compiled(k._lif, capability, lif, DECAY_INPUT=True, CARRIED=carried)
    back = f'{clip} {clip} {clip} *fp32 {end} {end} *fp32 *fp32 i32 i32 fp32 fp32 fp32 fp32 fp32 fp32'
    for surrogate, flag in ((SIGMOID, True), (ATAN, False), (RECT, False)):
        flags = dict(SURROGATE=surrogate, THROUGH_RESET=flag, LEARN=flag, DECAY_INPUT=flag, CARRIED=carried)
        count += compiled(k._lif_backward, capability, back, CHUNK=k.CHUNK, **flags)
    integer = f'{clip} {clip} {end} i32 i32 fp32 fp32 fp32'
    count += compiled(k._integer_lif, capability, integer, CARRIED=carried)
    back = f'{clip} {clip} {clip} *fp32 {end} {end} i32 i32 fp32 fp32 fp32'
    count += compiled(k._integer_lif_backward, capability, back, CARRIED=carried, CHUNK=k.CHUNK)
print(count)
"""


def test_compiles_for_gpus(tmp_path):
    """To machine code of two generations, which needs no GPU; no multiply-add, in which a product is not rounded."""
    env = {name: value for name, value in os.environ.items() if name != 'TRITON_INTERPRET'}
    script = tmp_path / 'compile.py'
    script.write_text(COMPILE)
    done = subprocess.run(
        [sys.executable, str(script)], env={**env, 'TRITON_CACHE_DIR': str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout.split() == ['12'], done.stderr


def test_a_cold_cache_is_said(tmp_path, monkeypatch, caplog):
    """Once, and only if there is no kernel of ours."""
    caplog.set_level('INFO', 'mmsvf')
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    monkeypatch.setenv('TRITON_INTERPRET', '0')
    triton_kernels.tell_of_compiling.cache_clear()
    for _ in range(2):
        triton_kernels.tell_of_compiling()
    assert caplog.messages == [
        f"compiling the neurons' kernels for GPU, once on this machine; they are kept in {tmp_path}"
    ]
    (tmp_path / 'key').mkdir()
    (tmp_path / 'key' / '_lif.json').touch()
    triton_kernels.tell_of_compiling.cache_clear()
    triton_kernels.tell_of_compiling()
    assert len(caplog.messages) == 1
