"""Figures against human labels: by hand, and where there is nothing to measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.classification import ece, quality

rows = st.lists(st.tuples(st.none() | st.floats(0.0, 1.0), st.booleans()), max_size=40)


def test_figures_by_hand() -> None:
    measured = quality([0.9, 0.8, 0.3, 0.1, None], [True, False, True, False, True])
    assert (measured.n, measured.unscored) == (5, 1)
    assert measured.accuracy == 0.5
    assert measured.f1 == 0.5  # one hit, one miss, one false alarm
    assert measured.auroc == 0.75  # three of four pairs are in order
    assert measured.auprc == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert measured.ece == pytest.approx((0.1 + 0.8 + 0.7 + 0.1) / 4)


def test_where_all_labels_are_alike_there_is_no_ranking() -> None:
    measured = quality([0.9, 0.2], [True, True])
    assert measured.auroc is measured.auprc is None
    assert measured.accuracy == 0.5


def test_nothing_scored_is_no_figure() -> None:
    measured = quality([None, None], [True, False])
    assert (measured.n, measured.unscored, measured.accuracy) == (2, 2, None)


def test_lengths_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        quality([0.5], [])


@given(rows)
def test_every_figure_is_in_the_unit_interval(drawn: list[tuple[float | None, bool]]) -> None:
    measured = quality([p for p, _ in drawn], [y for _, y in drawn])
    assert measured.unscored == sum(p is None for p, _ in drawn)
    values = (measured.accuracy, measured.f1, measured.auroc, measured.auprc, measured.ece)
    assert all(v is None or 0.0 <= v <= 1.0 for v in values)


def test_a_perfectly_calibrated_judge_has_no_calibration_error() -> None:
    p = np.repeat([0.25, 0.75], 4)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0], dtype=bool)
    assert ece(p, labels) == pytest.approx(0.0)
