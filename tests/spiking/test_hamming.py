import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmsvf import precision
from mmsvf.spiking import hamming
from mmsvf.spiking.hamming import (
    dot_attention,
    hamming_attention,
    hamming_similarity,
    hamming_similarity_bilinear,
)


def spikes(*shape, rate=0.5):
    return (torch.rand(shape) < rate).float()


def bit_counts(q, k):
    """Oracle: equal bits of every pair of rows, counted on Python integers."""
    pack = lambda rows: [int(''.join(str(int(b)) for b in row), 2) for row in rows.tolist()]  # noqa: E731
    d = q.shape[-1]
    return np.array([[d - bin(a ^ b).count('1') for b in pack(k)] for a in pack(q)])


def random_case(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    n_q, n_k, d, d_v = rng.randint(1, 60), rng.randint(1, 60), rng.randint(1, 90), rng.randint(1, 90)
    rates = [rng.choice([0.0, 0.02, 0.3, 0.5, 0.9, 1.0]) for _ in range(3)]
    return spikes(n_q, d, rate=rates[0]), spikes(n_k, d, rate=rates[1]), spikes(n_k, d_v, rate=rates[2])


@pytest.mark.parametrize('seed', range(40))
def test_orders_and_oracle_agree_bit_for_bit(seed):
    q, k, v = random_case(seed)
    d = q.shape[-1]
    equal = bit_counts(q, k)
    for attention, counts in (
        (hamming_attention, 2 * equal - d),
        (dot_attention, (q @ k.T).round().int().numpy()),
    ):
        oracle = torch.from_numpy((counts.astype(np.int64) @ v.long().numpy()).astype(np.float32))
        for order in ('linear', 'quadratic', 'auto'):
            assert torch.equal(attention(q, k, v, scale=1.0, order=order), oracle)
        assert torch.equal(attention(q, k, v, scale=0.3), oracle * 0.3)


@pytest.mark.parametrize('matmul', ['high', 'medium'])
def test_exact_where_products_may_round(matmul, device):
    """TF32 and bfloat16 hold integers up to 2048 and 256; a setting for others' products is found and put back."""
    q, k, v = (x.to(device) for x in (spikes(3000, 64), spikes(5000, 64, rate=0.9), spikes(5000, 64, rate=0.9)))
    expected = hamming_attention(q.double(), k.double(), v.double(), scale=1.0)
    seen = []
    torch.set_float32_matmul_precision(matmul)
    try:
        setting = precision._setting(q)
        before = getattr(*setting[:2])
        with precision.full_precision(q):
            seen.append(getattr(*setting[:2]))
        found = [hamming_attention(q, k, v, scale=1.0, order=order) for order in ('linear', 'quadratic')]
        assert seen == [setting[2]] != [before] and getattr(*setting[:2]) == before
    finally:
        torch.set_float32_matmul_precision('highest')
    assert all(torch.equal(y.double(), expected) for y in found) and expected.abs().max() > 2048


@pytest.mark.parametrize('seed', range(10))
def test_similarity_forms_agree(seed):
    q, k, _ = random_case(seed)
    counted = torch.from_numpy(bit_counts(q, k) / q.shape[-1]).float()
    torch.testing.assert_close(hamming_similarity(q, k), counted)
    torch.testing.assert_close(hamming_similarity_bilinear(q, k), counted)


def test_similarity_example():
    """D33: [1,0,1,1,0] and [1,1,0,1,0] agree in three of five places."""
    q, k = torch.tensor([[1.0, 0, 1, 1, 0]]), torch.tensor([[1.0, 1, 0, 1, 0]])
    assert hamming_similarity(q, k).item() == pytest.approx(3 / 5)


def test_default_scale_is_equation_9():
    q, k, v = spikes(7, 16), spikes(9, 16), spikes(9, 16)
    similarity = hamming_similarity(q, k) - 0.5
    torch.testing.assert_close(hamming_attention(q, k, v), similarity @ v)


def test_gradient_is_that_of_the_definition():
    q, k, v = (spikes(2, 3, 11, 8).requires_grad_() for _ in range(3))
    hamming_attention(q, k, v, order='linear').sin().sum().backward()
    grads = [x.grad.clone() for x in (q, k, v)]
    for x in (q, k, v):
        x.grad = None
    (((2 * q - 1) @ (2 * k - 1).transpose(-2, -1) / 16) @ v).sin().sum().backward()
    for grad, x in zip(grads, (q, k, v)):
        torch.testing.assert_close(grad, x.grad)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_exact_under_autocast_and_half_precision(dtype):
    """32 frames of 14 x 14 tokens: the sums (here 6272 * 64) overflow fp16, and bf16 rounds from 256 on."""
    q, k, v = torch.ones(1, 6272, 64), torch.ones(1, 6272, 64), torch.ones(1, 6272, 64)
    with torch.autocast('cpu', dtype=dtype):
        assert torch.equal(hamming_attention(q, k, v, scale=1.0), torch.full_like(q, 6272 * 64))
        out = hamming_attention(q.to(dtype), k.to(dtype), v.to(dtype), scale=1.0)
    assert out.dtype == torch.float32 and torch.equal(out, torch.full_like(q, 6272 * 64))


def test_refuses_to_leave_the_exact_range():
    q = torch.ones(1, 1, 64)
    k = v = torch.ones(1, 1, 1).expand(1, 2**18 + 1, 64)
    with pytest.raises(ValueError, match=r'262145 key tokens x 64 channels.*16777216.*float64'):
        hamming_attention(q, k, v)
    exact = hamming_attention(q.double(), k.double(), v.double(), scale=1.0)
    assert exact.flatten()[0].item() == (2**18 + 1) * 64
    hamming_attention(q, k[:, 1:], v[:, 1:])  # the last size that is exact


def test_bad_input():
    with pytest.raises(ValueError, match='order='):
        hamming_attention(spikes(3, 4), spikes(3, 4), spikes(3, 4), order='cubic')
    with pytest.raises(ValueError, match=r'q \(\.\.\., Nq, D\)'):
        hamming_attention(spikes(3, 4), spikes(3, 5), spikes(3, 4))


@pytest.mark.parametrize('attention', [hamming_attention, dot_attention])
@pytest.mark.parametrize('at', [0, 1, 2], ids='qkv')
def test_values_are_looked_at_in_development_mode(attention, at, monkeypatch):
    inputs = [spikes(3, 4) for _ in range(3)]
    inputs[at] = inputs[at] + 0.25
    attention(*inputs)  # not by default
    monkeypatch.setattr(hamming, 'CHECKED', True)
    with pytest.raises(ValueError, match=f'{"qkv"[at]} has values from 0.25 to 1.25 that are not 0 or 1'):
        attention(*inputs)
    inputs[at] = inputs[at] - 0.25
    attention(*inputs)


def test_development_mode_is_pythons():
    code = 'from mmsvf.spiking import hamming; assert hamming.CHECKED'
    subprocess.run([sys.executable, '-W', 'ignore', '-X', 'dev', '-c', code], check=True)
    assert not hamming.CHECKED
