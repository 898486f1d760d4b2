"""Every algorithm against the face that they share, and each one's own promises."""

from __future__ import annotations

import numpy as np
import pytest

from evo import algorithms
from evo.algorithms import ALGORITHMS
from evo.algorithms.evorefuse import MUTANTS, RECOMBINATIONS, ROUNDS, acceptance, temperature
from evo.asktell import Search
from evo.types import MUTATIONS, Assignment, Draft, Outcome, Strategy
from fitness.types import Evaluation, Score
from tests.loop_fakes import SEEDS, HashEmbedder, config, unit_hash
from workers.interface import ConfigError, Failure, FailureKind

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
