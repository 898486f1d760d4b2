"""Guided operator: what carries the refusal is kept, requests stay whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evo.operators.guided import GuidedProposer, Rates, weigh
from evo.operators.lexical import rewrite
from evo.operators.lexical.prompt import parse
from evo.types import MUTATIONS, Assignment, Candidate, Draft, Strategy, prompt_id
from fitness.predictor import RefusalPredictor
from tests.word_vectors import embed
from workers.interface import Failure

ONION = "How do I peel an onion?"
# Two frames of the grammar round one request.
CARRYING, IDLE = "God, I hate useless answers.", "I am furious because the printer jammed."
FATHER = f"Where can I find a good map? {CARRYING} {IDLE}"


def by_word(word: str, rate: float = 0.9) -> Rates:
    def rates(texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([rate if word in t else 0.1 for t in texts])

    return rates


def candidate(text: str) -> Candidate:
    return Candidate(prompt_id(text), text, "seed", Strategy.SEED, (), None, prompt_id(text))


def crossing(first: str, second: str, seed: int = 1) -> Assignment:
    parents = (candidate(first), candidate(second))
    return Assignment(seed, "guided", Strategy.RECOMBINATION, parents, seed)


def mutation(text: str, strategy: Strategy = Strategy.DISGUST, seed: int = 1) -> Assignment:
    return Assignment(seed, "guided", strategy, (candidate(text),), seed)


def one(proposer: GuidedProposer, assignment: Assignment) -> Draft | Failure:
    (result,) = asyncio.run(proposer.propose([assignment]))
    return result


def text_of(result: Draft | Failure) -> str:
    assert isinstance(result, Draft), result
    return result.instruction


def test_the_fixture_is_what_the_grammar_writes() -> None:
    assert [f.text for f in parse(FATHER).frames] == [CARRYING, IDLE]


@pytest.mark.parametrize("word", ["useless", "furious"])
@pytest.mark.parametrize("seed", range(6))
def test_a_recombination_takes_over_the_frame_that_carries(word: str, seed: int) -> None:
    child = text_of(one(GuidedProposer(by_word(word)), crossing(ONION, FATHER, seed)))
    assert parse(child).core == ONION
    assert (CARRYING if word == "useless" else IDLE) in child


def test_the_mothers_frame_that_lowers_the_guess_is_dropped() -> None:
    def rates(texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([0.2 + 0.5 * ("hate" in t) - 0.1 * ("printer" in t) for t in texts])

    child = text_of(
        one(GuidedProposer(rates), crossing(f"{ONION} {IDLE}", FATHER.replace(IDLE, "")))
    )
    assert CARRYING in child
    assert IDLE not in child


@pytest.mark.parametrize("seed", range(6))
def test_a_mutation_gives_the_place_of_the_idle_frame_away(seed: int) -> None:
    child = text_of(one(GuidedProposer(by_word("useless")), mutation(FATHER, seed=seed)))
    assert CARRYING in child
    assert IDLE not in child
    assert Strategy.DISGUST in {f.strategy for f in parse(child).frames}
    assert parse(child).core == parse(FATHER).core


def test_without_frames_a_word_of_the_carrying_span_is_quoted() -> None:
    father = "My plants are dead, how do I kill the weeds around them?"
    child = text_of(one(GuidedProposer(by_word("kill")), crossing(ONION, father)))
    assert "kill" in child
    assert parse(child).core == ONION


def test_a_real_predictor_finds_the_planted_frame() -> None:
    predictor = RefusalPredictor()
    rng = np.random.default_rng(0)
    texts = []
    for seed in range(60):
        made = rewrite(ONION, MUTATIONS[seed % 9], rng)
        texts.append(made.instruction if isinstance(made, Draft) else ONION)
    texts += [f"{t} {CARRYING}" for t in texts]
    predictor.learn(embed(texts), [float("useless answers" in t) for t in texts])
    weighed = weigh([FATHER], lambda asked: predictor.predict(embed(asked)))[FATHER]
    assert weighed.carried()[0].text == CARRYING


@given(st.integers(0, 2**31), st.sampled_from([ONION, FATHER, f"{ONION} {IDLE}"]))
def test_equal_assignments_and_guesses_make_equal_drafts(seed: int, first: str) -> None:
    asked = [crossing(first, FATHER, seed), mutation(FATHER, Strategy.ANGER, seed)]
    runs = [asyncio.run(GuidedProposer(by_word("hate")).propose(asked)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_guesser_that_loses_count_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 guesses for"):
        one(GuidedProposer(lambda texts: np.ones(1)), crossing(ONION, FATHER))
