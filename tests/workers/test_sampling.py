"""Drawing tokens: exact against a float64 reference, and independent of batch mates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engines.sampling import draw, uniforms
from workers.interface import Sampling


def _reference_distribution(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """q in float64, by sorting: temperature, then top-k, then nucleus."""
    z = logits.astype(np.float64) / sampling.temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    if sampling.top_k:
        p[order[sampling.top_k :]] = 0
        p /= p.sum()
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= sampling.top_p]] = 0
    return p / p.sum()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0, 1.0),
        Sampling(0.7, 1.0),
        Sampling(1.0, 0.9),
        Sampling(1.3, 0.995),
        Sampling(1.0, 1.0, top_k=5),
        Sampling(0.8, 0.8, top_k=20),
    ],
)
def test_drawn_tokens_follow_the_reference_distribution(sampling: Sampling) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=40).astype(np.float32) * 2
    n = 60_000
    grid = (np.arange(n, dtype=np.float32) + 0.5) / n  # every quantile once: no sampling noise
    rows = torch.from_numpy(logits).expand(n, -1)
    tokens, logp, logq = draw(rows, torch.from_numpy(grid), sampling)
    q = _reference_distribution(logits, sampling)
    counts = np.bincount(tokens.numpy(), minlength=40) / n
    assert np.abs(counts - q).max() < 2e-4
    expected_p = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    np.testing.assert_allclose(logp.numpy(), expected_p[tokens.numpy()], atol=1e-5)
    np.testing.assert_allclose(logq.numpy(), np.log(q[tokens.numpy()]), atol=1e-5)


@pytest.mark.parametrize("spread", [0.01, 5.0])
def test_a_nucleus_wider_than_the_head_is_found_too(spread: float) -> None:
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0)) * spread
    sampling = Sampling(1.0, 0.995)
    uniform = torch.tensor([0.0, 0.5, 0.999999])
    _, _, logq = draw(logits, uniform, sampling)
    for row in range(3):
        q = _reference_distribution(logits[row].numpy(), sampling)
        assert np.abs(np.exp(logq[row].item()) - q).min() < 1e-7


def test_temperature_zero_is_greedy() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    tokens, logp, logq = draw(logits, torch.tensor([0.9, 0.9]), Sampling(temperature=0.0))
    assert tokens.tolist() == [1, 0]
    torch.testing.assert_close(logp, torch.log_softmax(logits, -1).max(-1).values)
    assert logq.tolist() == [0.0, 0.0]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(0, 1, exclude_max=True, width=32),
    st.sampled_from([Sampling(1.0, 0.9), Sampling(0.5, 1.0, top_k=3), Sampling()]),
)
def test_a_row_draws_the_same_alone_and_in_company(
    seed: int, uniform: float, sampling: Sampling
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(4, 50, generator=generator) * 3
    u = torch.full((4,), uniform)
    together = draw(rows, u, sampling)[0]
    alone = draw(rows[2:3], u[2:3], sampling)[0]
    assert together[2] == alone[0]


def test_later_samples_never_repeat_earlier_random_numbers() -> None:
    first, second = uniforms(7, 0, 50), uniforms(7, 1, 50)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(uniforms(7, 0, 20), first[:20])
