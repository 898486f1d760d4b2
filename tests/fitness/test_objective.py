"""The fitness of thoughts: means of cliffs over what has a trace, and no number where nothing has."""

from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.elbo import elbo
from fitness.objective import Objective, cliff_terms, with_cliffs
from fitness.types import NoTrace, Score
from tests.fake_tracer import a_trace
from workers.interface import Failure, FailureKind

UNTRACED = NoTrace("p", "v", "no thought")
ends = st.tuples(st.floats(0, 1), st.floats(0, 1))


def a_score() -> Score:
    score = elbo([1.0, 0.0], [-4.0, -6.0], [4, 4])
    assert isinstance(score, Score)
    return score


@given(st.lists(ends, min_size=1, max_size=12), st.integers(0, 5))
def test_the_fitness_is_the_mean_of_what_has_a_trace_and_the_inverse_its_negative(
    drawn: list[tuple[float, float]], untraced: int
) -> None:
    traces = [a_trace(plateau, final) for plateau, final in drawn] + [UNTRACED] * untraced
    before = a_score()
    cliff = with_cliffs(before, traces, Objective.CLIFF)
    inverse = with_cliffs(before, traces, Objective.INVERSE_CLIFF)
    assert isinstance(cliff, Score)
    assert isinstance(inverse, Score)
    assert cliff.fitness == pytest.approx(fmean(p - f for p, f in drawn), abs=1e-12)
    assert inverse.fitness == -cliff.fitness
    assert -1.0 <= cliff.fitness <= 1.0
    assert fmean(cliff_terms(traces, Objective.CLIFF)) == pytest.approx(cliff.fitness, abs=1e-12)


def test_nothing_but_the_fitness_changes() -> None:
    before = a_score()
    after = with_cliffs(before, [a_trace(0.9, 0.2), a_trace(0.5, 0.4)], Objective.CLIFF)
    assert isinstance(after, Score)
    assert after.fitness == pytest.approx(0.4)
    assert {n for n in Score.__dataclass_fields__ if getattr(before, n) != getattr(after, n)} == {
        "fitness"
    }


def test_without_any_trace_there_is_a_failure_that_counts_the_reasons() -> None:
    cut = NoTrace("p", "v", "thought cut")
    failure = with_cliffs(a_score(), [UNTRACED, cut, UNTRACED], Objective.CLIFF)
    assert failure == Failure(
        FailureKind.UNSCORED, "no trace of any of 3 samples: no thought 2, thought cut 1"
    )
