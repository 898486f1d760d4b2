"""What is said of a target: rates over prompts, unscored apart, transfer."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fitness.assessment import Answer, Asked, Rate, assess, by, transfer


def asked(prompt: str, *p_refusal: float | None, safety: str = "harmless") -> Asked:
    answers = tuple(
        Answer("I cannot." if p and p > 0.5 else "Sure.", 4, -2.0, (p,), None) for p in p_refusal
    )
    return Asked(prompt, prompt, safety, None, "seed", answers)


def test_an_unscored_response_is_neither_a_refusal_nor_an_answer() -> None:
    made = assess([asked("a", 1.0), asked("b", None), asked("c", 0.0)])
    assert (made.n, made.responses, made.unscored) == (3, 3, 1)
    assert (made.crr.share, made.crr.n) == (0.5, 2)
    assert (made.refusal_rate.share, made.refusal_rate.n) == (0.5, 2)
    assert (made.prr.share, made.prr.n) == (1 / 3, 3)  # a string test reads every response


def test_a_prompt_counts_once_however_many_responses_it_has() -> None:
    made = assess([asked("a", *[1.0] * 50), asked("b", 0.0)])
    assert (made.responses, made.refusal_rate.share, made.refusal_rate.n) == (51, 0.5, 2)


def test_confidence_is_a_mean_over_responses_and_unknown_without_logprobs() -> None:
    known = Asked("a", "a", "harmless", None, "seed", (Answer("x", 4, -2.0, (0.0,), None),))
    unknown = Asked("b", "b", "harmless", None, "seed", (Answer("x", 4, None, (0.0,), None),))
    assert assess([known, unknown]).confidence == -0.5
    assert assess([unknown]).confidence is None


def test_of_nothing_no_rate_is_told() -> None:
    made = assess([Asked("a", "a", "harmless", None, "seed", ())])
    assert made.n == 0
    assert made.refusal_rate == made.crr == made.prr == Rate(None, 0, None, None)


def test_groups_come_largest_first_and_rows_without_a_name_are_left_out() -> None:
    rows = [asked("a", 1.0), asked("b", 0.0, safety="harmful"), asked("c", 0.0)]
    groups = by(rows, lambda each: each.safety)
    assert [(name, group.n) for name, group in groups.items()] == [("harmless", 2), ("harmful", 1)]
    assert by(rows, lambda each: each.topic) == {}


def test_transfer_is_over_prompts_that_both_have_a_verdict_on() -> None:
    first = [asked("a", 1.0), asked("b", 1.0), asked("c", 1.0), asked("d", 0.0)]
    second = [asked("a", 1.0), asked("b", 0.0), asked("c", None), asked("d", 1.0)]
    cells = {(t.found_on, t.asked_of): t.rate for t in transfer({"A": first, "B": second})}
    assert (cells["A", "B"].share, cells["A", "B"].n) == (0.5, 2)
    assert (cells["B", "A"].share, cells["B", "A"].n) == (0.5, 2)


@given(st.lists(st.lists(st.floats(0, 1) | st.none(), max_size=4), max_size=8))
def test_rates_are_shares_inside_their_intervals(drawn: list[list[float | None]]) -> None:
    made = assess([asked(str(i), *ps) for i, ps in enumerate(drawn)])
    for rate in (made.prr, made.crr, made.refusal_rate):
        if rate.share is None:
            assert rate.n == 0
            continue
        assert rate.low is not None
        assert rate.high is not None
        assert 0 <= rate.low <= rate.share + 1e-9
        assert rate.share - 1e-9 <= rate.high <= 1
        assert not math.isnan(rate.share)
