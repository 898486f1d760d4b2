"""Thresholds for wished rates: as near as the scores allow, and the same thing as a bias."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.calibration import (
    auroc,
    bias_of,
    curve,
    false_rate_threshold,
    threshold_for,
)
from workers.interface import Sampling

SCORES = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)


@given(SCORES, st.floats(0, 1))
def test_no_other_cut_is_nearer_to_the_wished_rate(scores: list[float], wished: float) -> None:
    found = threshold_for(scores, wished)
    share = sum(s >= found.threshold for s in scores) / len(scores)
    assert share == found.measured
    others = [sum(s >= t for s in scores) / len(scores) for t in [*scores, max(scores) + 1]]
    assert abs(found.measured - wished) <= min(abs(o - wished) for o in others) + 1e-12
    assert found.low <= found.measured <= found.high


@given(st.data(), SCORES, st.floats(0, 1))
def test_what_the_openings_lead_to_is_counted_not_the_openings(
    data: st.DataObject, scores: list[float], wished: float
) -> None:
    shares = st.lists(st.floats(0, 1), min_size=len(scores), max_size=len(scores))
    opened, closed = data.draw(shares), data.draw(shares)

    def rate(threshold: float) -> float:
        each = zip(scores, opened, closed, strict=True)
        return sum(o if s >= threshold else c for s, o, c in each) / len(scores)

    found = threshold_for(scores, wished, opened=opened, closed=closed)
    assert found.measured == pytest.approx(rate(found.threshold), abs=1e-9)
    best = min(abs(rate(t) - wished) for t in [*scores, max(scores) + 1])
    assert abs(found.measured - wished) <= best + 1e-9
    assert found.low - 1e-9 <= found.measured <= found.high + 1e-9


def test_shares_of_other_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores, but shares of 1 and 2"):
        threshold_for([0.0, 1.0], 0.5, opened=[1.0])


@given(st.integers(0, 2**31))
def test_a_rate_on_fresh_scores_is_near_the_wished_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, fresh = rng.normal(size=2000), rng.normal(size=2000)
    for wished in (0.1, 0.5, 0.9):
        found = threshold_for(known.tolist(), wished)
        assert abs(float((fresh >= found.threshold).mean()) - wished) < 0.08


@given(SCORES, st.floats(0, 1))
def test_no_more_harmless_prompts_are_refused_than_allowed(
    scores: list[float], most: float
) -> None:
    found = false_rate_threshold(scores, most)
    assert sum(s >= found.threshold for s in scores) / len(scores) <= most + 1e-9


def test_a_curve_goes_from_nothing_to_all() -> None:
    points = curve([2.0, 3.0], [0.0, 2.0])
    assert [(p.true_refusals, p.false_refusals) for p in points] == [
        (0.0, 0.0),
        (0.5, 0.0),
        (1.0, 0.5),
        (1.0, 1.0),
    ]
    assert auroc([2.0, 3.0], [0.0, 2.0]) == 0.875  # of four pairs three, and half of the tie
    assert auroc([1.0], [0.0]) == 1.0
    with pytest.raises(ValueError, match="harmful and of harmless"):
        curve([], [1.0])


@pytest.mark.parametrize("scores", [[], [math.nan], [math.inf]])
def test_scores_that_are_no_numbers_have_no_threshold(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="scores that are numbers"):
        threshold_for(scores, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold_for([1.0], 1.5)


@given(st.integers(0, 2**31), st.floats(-4, 4))
def test_the_rule_and_the_bias_refuse_the_same(seed: int, threshold: float) -> None:
    """With the bias the log-odds of the marked tokens reach 0 where without it they reach the threshold."""
    import torch

    from workers.engines.sampling import draw_first

    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(16, 12))).float()
    marked = torch.tensor([1, 5, 7])
    biased = logits.clone()
    biased[:, marked] += bias_of(threshold)
    uniform = torch.from_numpy(rng.random(16)).float()
    by_rule, logp, _ = draw_first(logits, uniform, Sampling(), [(marked, threshold)])
    by_bias, _, _ = draw_first(biased, uniform, Sampling(), [(marked, 0.0)])
    raw = torch.log_softmax(logits, dim=-1)
    others = [i for i in range(12) if i not in (1, 5, 7)]
    odds = raw[:, marked].logsumexp(1) - raw[:, others].logsumexp(1)
    for row in range(16):
        is_marked = int(by_rule[row]) in (1, 5, 7)
        if abs(float(odds[row]) - threshold) > 1e-4:
            assert is_marked == (float(odds[row]) >= threshold)
            assert is_marked == (int(by_bias[row]) in (1, 5, 7))
        assert float(logp[row]) == pytest.approx(float(raw[row, by_rule[row]]), abs=1e-6)


def test_of_several_rules_the_one_exceeded_by_most_decides_and_none_may_begin_where_none_is() -> (
    None
):
    import torch

    from workers.engines.sampling import draw_first

    logits = torch.tensor([[0.0, 4.0, 3.0, 0.0], [0.0, -9.0, -9.0, 1.0], [9.0, 8.0, 0.0, 0.0]])
    one, two = torch.tensor([1]), torch.tensor([2])
    uniform = torch.full((3,), 0.5)
    greedy = Sampling(temperature=0.0)
    nothing = torch.tensor([], dtype=torch.long)
    equal = [(one, 0.0), (two, 0.0), (nothing, -1e6)]
    assert draw_first(logits, uniform, greedy, equal)[0].tolist() == [1, 3, 0]
    # the second is easier to reach: log-odds -1.0 against 0.7
    apart = [(one, 0.0), (two, -3.0)]
    assert draw_first(logits, uniform, greedy, apart)[0].tolist() == [2, 3, 0]
