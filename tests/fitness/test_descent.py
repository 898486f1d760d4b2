"""L-BFGS finds the minimum of convex functions that has a closed form, or that scipy finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from fitness.descent import Point, minimum


@given(st.integers(1, 12), st.integers(0, 999), st.floats(0.0, 3.0))
def test_the_minimum_of_a_quadratic_is_where_its_equations_say(
    n: int, seed: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(n, n)))
    curvature = turn @ np.diag(10.0 ** rng.uniform(-spread / 2, spread / 2, n)) @ turn.T
    target = rng.normal(size=n)

    def slope_at(x: Point) -> tuple[float, Point]:
        slope = curvature @ (x - target)
        return float((x - target) @ slope) / 2, slope

    found = minimum(slope_at, np.zeros(n), 1e-7, 1000)
    assert np.abs(slope_at(found)[1]).max() < 1e-5


def test_it_ends_where_scipy_ends_on_a_logistic_loss() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 20))
    y = (x[:, 0] + rng.normal(size=300) > 0).astype(float)

    def loss(w: Point) -> tuple[float, Point]:
        odds = x @ w
        value = float(np.mean(np.logaddexp(0.0, odds) - y * odds) + 0.01 * (w @ w))
        return value, x.T @ (1 / (1 + np.exp(-odds)) - y) / len(y) + 0.02 * w

    theirs = minimize(loss, np.zeros(20), jac=True, options={"gtol": 1e-8}).x
    assert minimum(loss, np.zeros(20), 1e-6, 500) == pytest.approx(theirs, abs=1e-4)


def test_steps_are_bounded() -> None:
    asked = []

    def slope_at(x: Point) -> tuple[float, Point]:
        asked.append(x)
        return float(np.exp(-x[0])), -np.exp(-x)  # falls for ever

    minimum(slope_at, np.zeros(1), 0.0, 5)
    assert len(asked) == 6
