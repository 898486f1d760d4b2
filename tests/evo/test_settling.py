"""Whose samples are completed: the fittest first, each once, and under the name it came by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evo.settling import Settling
from evo.types import RESAMPLE, Assignment, Candidate, Outcome, Strategy, prompt_id
from fitness.types import Evaluation, Score
from workers.interface import Failure, FailureKind

FULL = 10


def ended(
    text: str, fitness: float, n: int = 2, again: bool = False, strategy: Strategy = Strategy.ANGER
) -> Outcome:
    """A prompt that was evaluated, for the first time or again."""
    first = Candidate(prompt_id(text), text, "lexical", strategy, ("p",), None, "s")
    made, parents = first, (first,)
    if again:
        made = Candidate(first.prompt_id, text, RESAMPLE, strategy, (first.prompt_id,), None, "s")
    score = Score(fitness, fitness, None, None, 0.5, 0.0, 1.0, n, 0)
    evaluation = Evaluation(made.prompt_id, (), score, n, 0, 0, 0.0)
    return Outcome(Assignment(0, made.operator, strategy, parents, 1), made, evaluation)


@given(st.lists(st.floats(-9.0, 0.0), min_size=1, max_size=12, unique=True), st.integers(1, 6))
def test_the_fittest_are_handed_out_in_order_and_each_once(fitness: list[float], most: int) -> None:
    settling = Settling(most, FULL)
    for value in fitness:
        settling.hear(ended(f"prompt {value}", value))
    handed = []
    while (candidate := settling.next()) is not None:
        handed.append(candidate.text)
    assert handed == [f"prompt {v}" for v in sorted(fitness, reverse=True)[:most]]


@given(st.integers(1, 6), st.integers(0, 6))
def test_a_prompt_has_rounds_until_it_is_whole_or_the_target_gives_no_more(
    had: int, more: int
) -> None:
    settling = Settling(4, FULL)
    settling.hear(ended("one", -1.0, had))
    assert settling.next() is not None
    assert settling.next() is None, "it is under way"
    settling.hear(ended("one", -1.5, had + more, again=True))
    assert (settling.next() is not None) == (more > 0 and had + more < FULL)
    known = settling.known(prompt_id("one"))
    assert known is not None
    assert known.evaluation is not None
    assert known.evaluation.score.fitness == -1.5


def test_what_falls_behind_in_its_next_round_waits_for_those_before_it() -> None:
    settling = Settling(4, FULL)
    settling.hear(ended("lucky", -0.1))
    settling.hear(ended("steady", -0.2))
    assert settling.next() is not None
    settling.hear(ended("lucky", -2.0, 4, again=True))
    second = settling.next()
    assert second is not None
    assert second.text == "steady"
    assert settling.n_samples(prompt_id("lucky")) == 4


def test_what_is_handed_out_bears_the_operator_and_parents_that_it_came_by() -> None:
    settling = Settling(4, FULL)
    settling.hear(ended("one", -1.0))
    settling.hear(ended("one", -1.5, 2, again=True))
    assert settling._best[0].candidate == ended("one", -1.0).candidate


def test_a_worse_score_moves_a_prompt_behind_the_others() -> None:
    settling = Settling(1, FULL)
    settling.hear(ended("lucky", -0.1))
    settling.next()
    settling.hear(ended("lucky", -5.0, FULL, again=True))
    settling.hear(ended("steady", -1.0))
    candidate = settling.next()
    assert candidate is not None
    assert candidate.text == "steady"
    assert settling.known(prompt_id("lucky")) is None


def test_seeds_failures_and_what_has_all_its_samples_are_not_completed() -> None:
    settling = Settling(4, FULL)
    settling.hear(ended("seed", -0.1, strategy=Strategy.SEED))
    settling.hear(ended("whole", -0.2, FULL))
    assert settling.next() is None
    settling.hear(ended("one", -1.0))
    one = settling.next()
    assert one is not None
    failed = Failure(FailureKind.TIMEOUT, "too slow")
    settling.hear(Outcome(Assignment(1, RESAMPLE, one.strategy, (one,), 1), one, failure=failed))
    assert settling.next() is None
    assert settling.known(one.prompt_id) is None
