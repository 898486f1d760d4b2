"""The predictor of refusals: what it says before it knows anything, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fitness.predictor import FEWEST, MOST, RefusalPredictor


def prompts(n: int, seed: int) -> tuple[NDArray[np.float32], list[float]]:
    """Unit vectors whose first axis says how often they are refused."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), [float(v) for v in np.clip(0.5 + 2 * x[:, 0], 0.0, 1.0)]


def test_it_says_the_mean_until_it_has_seen_enough() -> None:
    vectors, rates = prompts(FEWEST - 1, 0)
    predictor = RefusalPredictor()
    assert predictor.predict(vectors[:2]).tolist() == [0.5, 0.5]
    predictor.learn(vectors, rates)
    assert predictor.predict(vectors[:2]) == pytest.approx([np.mean(rates)] * 2)


def test_it_orders_prompts_that_it_has_not_seen() -> None:
    predictor = RefusalPredictor()
    predictor.learn(*prompts(300, 0))
    vectors, rates = prompts(200, 1)
    guessed = predictor.predict(vectors)
    assert np.all((guessed >= 0) & (guessed <= 1))
    assert np.corrcoef(guessed, rates)[0, 1] > 0.9


def test_it_is_refitted_as_evaluations_come_in() -> None:
    predictor = RefusalPredictor()
    vectors, rates = prompts(400, 0)
    fresh, truth = prompts(200, 1)
    errors = []
    for start in range(0, 400, 40):
        predictor.learn(vectors[start : start + 40], rates[start : start + 40])
        errors.append(float(np.mean((predictor.predict(fresh) - truth) ** 2)))
    assert len(predictor) == 400
    assert errors[-1] < errors[0]


def test_the_same_evaluations_give_the_same_predictor() -> None:
    first, again = RefusalPredictor(), RefusalPredictor()
    for predictor in (first, again):
        predictor.learn(*prompts(100, 0))
    fresh, _ = prompts(20, 1)
    assert first.predict(fresh).tolist() == again.predict(fresh).tolist()


def test_it_is_the_logistic_regression_over_nystroem_features_that_scikit_learn_fits() -> None:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression

    vectors, rates = prompts(150, 0)  # fewer than landmarks, so both take all
    fresh, _ = prompts(200, 1)
    rate = np.array(rates)
    kernel = Nystroem(gamma=1.0, n_components=150, random_state=0).fit(vectors)
    features = kernel.transform(vectors)
    theirs = LogisticRegression(C=10.0, max_iter=2000, tol=1e-6).fit(
        np.vstack([features, features]),
        np.repeat([1, 0], 150),
        sample_weight=np.concatenate([rate, 1.0 - rate]),
    )
    said = theirs.predict_proba(kernel.transform(fresh))[:, 1]
    ours = RefusalPredictor()
    ours.learn(vectors, rates)
    assert ours.predict(fresh) == pytest.approx(said, abs=0.02)


def test_equal_vectors_can_be_learned_from() -> None:
    predictor = RefusalPredictor()
    vectors = np.repeat(np.eye(2, 8, dtype=np.float32), 20, axis=0)
    predictor.learn(vectors, [0.1] * 20 + [0.9] * 20)
    assert predictor.predict(vectors[[0, 20]]) == pytest.approx([0.1, 0.9], abs=0.05)


def test_where_all_were_alike_it_says_so() -> None:
    predictor = RefusalPredictor()
    vectors, _ = prompts(FEWEST, 0)
    predictor.learn(vectors, [1.0] * FEWEST)
    assert predictor.predict(vectors[:1]).tolist() == [1.0]
    assert predictor.predict(np.zeros((0, 16))).tolist() == []


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_none_is_an_error(rate: float) -> None:
    with pytest.raises(ValueError, match="refusal rate"):
        RefusalPredictor().learn(np.zeros((1, 4), dtype=np.float32), [rate])


def test_as_many_rates_as_vectors() -> None:
    with pytest.raises(ValueError, match="zip"):
        RefusalPredictor().learn(np.zeros((2, 4), dtype=np.float32), [0.5])


def test_what_it_keeps_is_bounded_and_its_base_rate_is_that_of_all() -> None:
    vectors, _ = prompts(5 * MOST, 0)
    rng = np.random.default_rng(0)
    rates = (rng.random(5 * MOST) < 0.1).astype(float)  # chance alone, one in ten
    predictor = RefusalPredictor()
    predictor.learn(vectors, list(rates))
    assert len(predictor) == 5 * MOST
    assert len(predictor._answered.kept) == MOST
    assert predictor.predict(vectors[:500]).mean() == pytest.approx(0.1, abs=0.06)
