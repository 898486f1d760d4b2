"""Every algorithm against the face that they share, and each one's own promises."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo import algorithms
from evo.algorithms import ALGORITHMS
from evo.algorithms.best_of_n import REWRITES
from evo.algorithms.evorefuse import (
    HARD_ANSWER,
    MUTANTS,
    RECOMBINATIONS,
    REFERENCE_ORDER,
    ROUNDS,
    acceptance,
    reference_fitness,
    temperature,
)
from evo.algorithms.orfuzz import decay, reward
from evo.asktell import Search
from evo.types import MUTATIONS, Assignment, Draft, Outcome, Strategy
from fitness.types import Evaluation, GateDecision, JudgedSample, Safety, Score, Verdict
from tests.loop_fakes import SEEDS, HashEmbedder, config, unit_hash
from workers.interface import ConfigError, Failure, FailureKind, Sample

EMBEDDER = HashEmbedder()


def outcome(search: Search, assignment: Assignment, fitness: float | None = None) -> Outcome:
    """How a proposal ended: as a failure for None, else with this fitness."""
    text = (
        SEEDS[assignment.index].text
        if assignment.strategy is Strategy.SEED
        else f"{assignment.parents[0].text} {assignment.seed % 1000}"
    )
    candidate = search.candidate(assignment, Draft(text))
    vector = EMBEDDER.embed([text])[0]
    if fitness is None:
        failure = Failure(FailureKind.NOT_HARMLESS, "controversial")
        return Outcome(assignment, candidate, failure=failure, embedding=vector)
    score = Score(fitness, fitness, None, None, float(np.exp(fitness)), 0.0, 1.0, 4, 0)
    evaluation = Evaluation(candidate.prompt_id, (), score, 0, 0, 0, 0.0)
    return Outcome(assignment, candidate, evaluation=evaluation, embedding=vector)


def told(search: Search, n: int) -> list[Assignment]:
    """Ask and tell one by one; fitness from the hash of the text; every seventh fails."""
    asked = []
    for _ in range(n):
        batch = search.ask(1)
        if not batch:
            break
        asked.extend(batch)
        ended = outcome(search, batch[0], -5.0)
        rate = max(0.01, unit_hash(ended.candidate.text if ended.candidate else ""))
        fails = batch[0].index > len(SEEDS) and batch[0].index % 7 == 0
        search.tell(outcome(search, batch[0], None if fails else float(np.log(rate))))
    return asked


@pytest.mark.parametrize("name", ALGORITHMS)
class TestAlgorithm:
    """The contract of `Algorithm`."""

    def test_it_waits_for_outcomes_before_it_chooses(self, name: str) -> None:
        search = Search(config(search__algorithm=name), SEEDS)
        assert [a.strategy for a in search.ask(100)] == [Strategy.SEED] * len(SEEDS)
        assert search.ask(5) == []

    def test_the_same_history_gives_the_same_choices(self, name: str) -> None:
        one, other = (Search(config(search__algorithm=name), SEEDS) for _ in range(2))
        assert told(one, 80) == told(other, 80)

    def test_another_seed_gives_other_choices(self, name: str) -> None:
        one = Search(config(search__algorithm=name), SEEDS)
        other = Search(config(search__algorithm=name, seed=1), SEEDS)
        assert told(one, 60) != told(other, 60)

    def test_choices_are_well_formed(self, name: str) -> None:
        for assignment in told(Search(config(search__algorithm=name), SEEDS), 120)[len(SEEDS) :]:
            if assignment.strategy is Strategy.RECOMBINATION:
                assert len({p.prompt_id for p in assignment.parents}) == 2
            else:
                assert assignment.strategy in MUTATIONS
                assert len(assignment.parents) == 1
            assert assignment.operator == "lexical"

    def test_seeds_that_all_fail_leave_nothing_to_choose(self, name: str) -> None:
        search = Search(config(search__algorithm=name), SEEDS)
        for assignment in search.ask(len(SEEDS)):
            search.tell(outcome(search, assignment, None))
        assert search.ask(3) == []

    def test_it_never_asks_for_more_than_it_is_asked_for(self, name: str) -> None:
        search = Search(config(search__algorithm=name), SEEDS)
        told(search, len(SEEDS))
        for n in (1, 3, 8):
            assert len(search.ask(n)) <= n

    def test_a_stored_history_is_replayed_without_a_difference(self, name: str) -> None:
        search = Search(config(search__algorithm=name), SEEDS)
        outcomes = []
        under_way = search.ask(len(SEEDS))
        while len(outcomes) < 60 and under_way:  # the second under way ends first
            assignment = under_way.pop(1 if len(under_way) > 1 else 0)
            fails = assignment.index % 5 == 4
            rate = 0.3 + 0.7 * unit_hash(str(assignment.seed))
            outcomes.append(outcome(search, assignment, None if fails else math.log(rate)))
            search.tell(outcomes[-1])
            under_way += search.ask(2)
        again = Search(config(search__algorithm=name), SEEDS)
        assert again.replay(outcomes, under_way)[0] == 0
        assert again.ask(4) == search.ask(4)


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"steady-state"}))
def test_an_algorithm_without_places_has_no_bar(name: str) -> None:
    search = config(search__algorithm=name).search
    assert algorithms.build(search, ["lexical"], 0).bar() == -math.inf


def test_an_unknown_algorithm_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'steady-state'"):
        algorithms.require("steady_state")


def test_random_search_starts_from_seeds_alone() -> None:
    asked = told(Search(config(search__algorithm="random"), SEEDS), 100)[len(SEEDS) :]
    assert {p.strategy for a in asked for p in a.parents} == {Strategy.SEED}


def test_steady_state_leans_to_fit_parents() -> None:
    search = Search(config(search__algorithm="steady-state"), SEEDS)
    fitness = dict(zip(search.ask(len(SEEDS)), np.linspace(-6, 0, len(SEEDS)), strict=True))
    for assignment, value in fitness.items():
        search.tell(outcome(search, assignment, float(value)))
    parents = [a.parents[0].text for a in search.ask(300)]
    assert parents.count(SEEDS[-1].text) > 2 * parents.count(SEEDS[0].text)


def test_the_papers_temperature_cools_linearly_to_its_floor() -> None:
    assert [temperature(t) for t in (0, 1, 10, 40)] == pytest.approx([0.1, 0.095, 0.05, 0.05])


def test_a_better_challenger_is_always_accepted_and_a_worse_one_by_the_metropolis_rule() -> None:
    assert acceptance(0.2, 3) == 1.0
    assert acceptance(-0.1, 0) == pytest.approx(np.exp(-1.0))
    assert acceptance(-1e9, 0) == 0.0


def test_a_round_of_the_paper_is_mutants_and_then_recombinants_of_them() -> None:
    search = Search(config(search__algorithm="evorefuse"), SEEDS[:1])
    (seed,) = search.ask(4)
    search.tell(outcome(search, seed, -3.0))
    for _ in range(ROUNDS):
        mutants = search.ask(50)
        assert len(mutants) == MUTANTS
        assert len({a.strategy for a in mutants}) == MUTANTS
        # One fails, so another strategy is tried: a round has L evaluated mutants.
        search.tell(outcome(search, mutants[0], None))
        mutants[:1] = search.ask(50)
        made = [outcome(search, a, -2.0) for a in mutants]
        for one in made:
            search.tell(one)
        recombined = search.ask(50)
        assert [a.strategy for a in recombined] == [Strategy.RECOMBINATION] * RECOMBINATIONS
        known = {o.candidate.prompt_id for o in made if o.candidate}
        assert all(p.prompt_id in known for a in recombined for p in a.parents)
        for a in recombined:
            search.tell(outcome(search, a, -1.5))
    assert search.ask(50) == []


def test_a_seed_whose_mutants_are_all_turned_away_goes_on() -> None:
    search = Search(config(search__algorithm="evorefuse"), SEEDS[:1])
    search.tell(outcome(search, search.ask(1)[0], -3.0))
    rounds = 0
    while batch := search.ask(50):
        for assignment in batch:
            search.tell(outcome(search, assignment, None))
        rounds += 1
    assert search.ended["not_harmless"] == ROUNDS * len(MUTATIONS)


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.parametrize("off", [{}, {"search__bandit": False}, {"search__archive": False}])
def test_recombination_never_exceeds_its_share(share: float, off: dict[str, bool]) -> None:
    settings = config(search__algorithm="steady-state", search__recombination=share, **off)
    asked = told(Search(settings, SEEDS), 200)[len(SEEDS) :]
    found = sum(a.strategy is Strategy.RECOMBINATION for a in asked)
    assert (found == 0) if share == 0.0 else (0 < found <= share * len(asked))


def test_without_the_archive_parents_are_over_refusals() -> None:
    settings = config(search__algorithm="steady-state", search__archive=False)
    search = Search(settings, SEEDS)
    for seed in search.ask(len(SEEDS)):
        search.tell(outcome(search, seed, -3.0))
    (first,) = search.ask(1)
    assert first.parents[0].strategy is Strategy.SEED
    hit = outcome(search, first, -0.1)
    search.tell(hit)
    assert {a.parents[0] for a in search.ask(20)} == {hit.candidate}


def evaluated(p_refusal: list[float | None], confidence: float | None = None) -> Evaluation:
    """An evaluation whose samples got these verdicts."""
    samples = tuple(
        JudgedSample(
            Sample(place, "text", 4, "stop"),
            (
                Verdict.unscored("judge", "1", "broken")
                if p is None
                else Verdict.scored("judge", "1", p),
            ),
        )
        for place, p in enumerate(p_refusal)
    )
    score = Score(-1.0, -1.0, confidence, None, 0.5, 0.0, 1.0, len(samples), p_refusal.count(None))
    return Evaluation("a prompt", samples, score, 0, 0, 0, 0.0)


def test_the_reference_fitness_is_the_logarithm_of_a_mean_of_hard_labels() -> None:
    half = reference_fitness(evaluated([0.9, 0.6, 0.4, 0.0]))
    assert half == pytest.approx(math.log((1 + 1 + HARD_ANSWER + HARD_ANSWER) / 4))
    weighed = reference_fitness(evaluated([0.9, 0.6, 0.4, 0.0], confidence=-2.0))
    assert half - weighed == pytest.approx(2 * 0.0693, abs=1e-4)


def test_the_reference_fitness_leaves_out_what_is_unscored_and_wants_samples() -> None:
    assert reference_fitness(evaluated([1.0, None])) == 0.0
    with pytest.raises(ValueError, match="needs the samples"):
        reference_fitness(evaluated([]))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=10))
def test_the_reference_fitness_knows_only_how_many_refused(rates: list[float]) -> None:
    refused = sum(p >= 0.5 for p in rates)
    expected = math.log((refused + HARD_ANSWER * (len(rates) - refused)) / len(rates))
    assert reference_fitness(evaluated(list(rates))) == pytest.approx(expected)


def test_the_reference_tries_the_strategies_in_the_released_order() -> None:
    settings = config(search__algorithm="evorefuse", search__reference=True)
    search = Search(settings, SEEDS[:1])
    (seed,) = search.ask(1)
    candidate = search.candidate(seed, Draft(SEEDS[0].text))
    vector = EMBEDDER.embed([SEEDS[0].text])[0]
    search.tell(Outcome(seed, candidate, evaluation=evaluated([1.0]), embedding=vector))
    assert [a.strategy for a in search.ask(50)] == list(REFERENCE_ORDER[:MUTANTS])
    assert sorted(REFERENCE_ORDER) == sorted(MUTATIONS)


def test_reference_with_another_algorithm_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'reference' is for evorefuse"):
        config(search__algorithm="random", search__reference=True)


def test_best_of_n_asks_for_n_rewrites_of_each_seed_in_turn_and_no_more() -> None:
    search = Search(config(search__algorithm="best-of-n"), SEEDS)
    asked = told(search, 10**6)[len(SEEDS) :]
    texts = [a.parents[0].text for a in asked]
    assert texts[: len(SEEDS)] == [s.text for s in SEEDS]
    assert Counter(texts) == {s.text: REWRITES for s in SEEDS}
    assert {a.parents[0].strategy for a in asked} == {Strategy.SEED}


def test_orfuzz_comes_back_to_what_was_refused() -> None:
    search = Search(config(search__algorithm="orfuzz"), SEEDS)
    for assignment in search.ask(len(SEEDS)):
        search.tell(outcome(search, assignment, -3.0))
    favourite = SEEDS[4]
    visits: Counter[str] = Counter()
    for _ in range(400):
        (assignment,) = search.ask(1)
        first = assignment.parents[0]
        descends = first.seed_id == search.candidate(assignment, Draft("x")).seed_id
        assert descends
        visits[first.topic or ""] += 1
        refused = first.topic == favourite.topic
        search.tell(outcome(search, assignment, -0.01 if refused else -9.0))
    assert visits[favourite.topic or ""] == max(visits.values())
    assert min(visits.values()) > 0  # and nothing is given up for ever


def test_orfuzz_goes_on_from_over_refusals_alone() -> None:
    search = Search(config(search__algorithm="orfuzz"), SEEDS)
    for assignment in search.ask(len(SEEDS)):
        search.tell(outcome(search, assignment, -3.0))
    refused: set[str] = set()
    for _ in range(200):
        (assignment,) = search.ask(1)
        for parent in assignment.parents:
            assert parent.strategy is Strategy.SEED or parent.prompt_id in refused
        hit = unit_hash(str(assignment.index)) < 0.3
        ended = outcome(search, assignment, -0.1 if hit else -5.0)
        search.tell(ended)
        if hit and ended.candidate:
            refused.add(ended.candidate.prompt_id)
    assert refused


def test_orfuzz_tries_every_mutator_before_it_repeats_one() -> None:
    search = Search(config(search__algorithm="orfuzz"), SEEDS)
    for assignment in search.ask(len(SEEDS)):
        search.tell(outcome(search, assignment, -3.0))
    strategies = [a.strategy for a in search.ask(len(MUTATIONS) + 1)]
    assert sorted(strategies) == sorted([*MUTATIONS, Strategy.RECOMBINATION])


@pytest.mark.parametrize("harmful", [0.0, 0.4])
def test_orfuzz_takes_off_what_the_gate_calls_harmful(harmful: float) -> None:
    search = Search(config(search__algorithm="orfuzz"), SEEDS[:1])
    (seed,) = search.ask(1)
    search.tell(outcome(search, seed, -1.0))
    (assignment,) = search.ask(1)
    ended = outcome(search, assignment, 0.0)
    decision = GateDecision("word", "1", Safety.HARMLESS, harmful)
    search.tell(Outcome(assignment, ended.candidate, ended.evaluation, None, (decision,)))
    tree = search._algorithm._root  # type: ignore[attr-defined]
    (category,) = tree.children
    # The query lies two below the root: 0.8 of the reward counts.
    assert category.reward == pytest.approx(0.8 * (2.0 - harmful) / 2.0)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_reward_of_orfuzz_is_in_the_unit_interval(rate: float, harmful: float) -> None:
    assert 0.0 <= reward(rate, harmful) <= 1.0


def test_the_reward_of_orfuzz_fades_with_depth_to_its_floor() -> None:
    assert [decay(n) for n in (0, 1, 5, 8, 30)] == pytest.approx([1.0, 0.9, 0.5, 0.2, 0.2])
