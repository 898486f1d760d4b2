"""What a course says of a thought: plateau, final, drop, position, kind; and means over several."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from fitness.cliff.course import (
    Course,
    Kind,
    NoCourse,
    Rule,
    course,
    mean_course,
    sigmoid,
    top_mean,
)

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=60)


def _course(values: list[float], n_thinking: int) -> Course:
    found = course(values, n_thinking)
    assert isinstance(found, Course)
    return found


@given(logits, st.data())
def test_a_course_is_what_its_definition_says(values: list[float], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(values)))
    found = _course(values, n)
    scores = expit(np.array(values, dtype=np.float64))
    assert found.scores == pytest.approx(scores, abs=1e-12)
    assert found.plateau == pytest.approx(scores[:n].max())
    top = np.sort(scores[:n])[::-1][: max(1, -(-n // 5))]
    assert found.plateau_top == pytest.approx(top.mean())
    assert found.final == pytest.approx(scores[-1])
    assert (found.position is None) == (found.kind is Kind.NONE)


@pytest.mark.parametrize("fall", [7, 10, 17, 20])
def test_the_position_of_a_cliff_is_where_the_score_falls_for_good(fall: int) -> None:
    values = [-4.0, *[4.0] * (fall - 1), *[-4.0] * (22 - fall)]
    values[fall - 2] = -4.0  # a dip in the plateau is no cliff
    found = _course(values, 20)
    assert (found.kind, found.position) == (Kind.CLIFF, fall)


def test_the_position_of_an_inverse_cliff_is_where_the_score_rises_for_good() -> None:
    found = _course([*[-4.0] * 20, 4.0, 4.0], 20)
    assert (found.kind, found.position) == (Kind.INVERSE, 20)
    assert found.drop < -0.9


def test_one_high_token_makes_a_plateau_by_the_maximum_and_no_cliff() -> None:
    found = _course([*[-4.0] * 10, 5.0, *[-4.0] * 9, -4.0], 20)
    assert found.drop > 0.9
    assert found.kind is Kind.NONE


def test_a_refusal_whose_thought_begins_low_is_no_inverse_cliff() -> None:
    assert _course([*[-4.0] * 12, *[4.0] * 8, 4.0], 20).kind is Kind.NONE


def test_the_template_after_the_thought_is_no_part_of_the_plateau() -> None:
    found = _course([-4.0] * 5 + [4.0, 4.0], 5)
    assert found.plateau < 0.05


def test_the_rule_can_be_moved() -> None:
    values = [0.0] * 5 + [-4.0]
    assert _course(values, 5).kind is Kind.NONE
    found = course(values, 5, Rule(reference=0.5, least_drop=0.4))
    assert isinstance(found, Course)
    assert found.kind is Kind.CLIFF


def test_no_thought_and_broken_states_are_no_trace_and_never_a_number() -> None:
    assert course([1.0, 2.0], 0) == NoCourse("the response has no thought")
    assert isinstance(course([1.0, float("nan")], 1), NoCourse)
    assert isinstance(course([float("inf"), 1.0], 1), NoCourse)
    with pytest.raises(ValueError, match="logits"):
        course([1.0], 2)


def test_the_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert sigmoid([-1e30, 0.0, 1e30]).tolist() == [0.0, 0.5, 1.0]


def test_a_top_fifth_of_a_short_thought_is_its_largest_score() -> None:
    assert top_mean(np.array([0.2, 0.7, 0.1])) == 0.7
    assert top_mean(np.arange(10.0)) == 8.5


@given(st.lists(st.lists(st.floats(0, 1), max_size=30), max_size=8))
def test_a_mean_course_counts_what_is_there_and_no_padding(courses: list[list[float]]) -> None:
    found = mean_course(courses)
    for column, before in enumerate(found.tokens_before_end):
        there = [c[len(c) - 1 - before] for c in courses if len(c) > before]
        assert found.n[column] == len(there)
        assert found.mean[column] == pytest.approx(sum(there) / len(there))


def test_single_words_that_score_high_do_not_hide_an_inverse_cliff() -> None:
    """Scores of a real short thought: "This is safe, so the right thing is to answer."""
    scores = np.array(
        [0.12, 0.06, 0.12, 0.65, 0.11, 0.01, 0.16, 0.58, 0.16, 0.09, 0.2, 0.09, 0.01, 0.98, 1.0]
    ).clip(0.001, 0.999)
    found = _course(np.log(scores / (1 - scores)).tolist(), 12)
    assert found.kind is Kind.INVERSE
    assert found.position == 13
