"""What was guessed before the target was asked, and prompts that were sampled again: in the record and
in what reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from db import exporters, found, queries
from db.store import Store
from evo.types import RESAMPLE, Assignment, Candidate, Outcome, Screened
from fitness.types import Evaluation, JudgedSample, Score, ScreenedOut, Unscored, Verdict
from tests.db.builders import REFUSAL, RunBuilder
from workers.interface import Failure, FailureKind, Opening, Sample

OPENING = Opening(("I", "Sü\ud83d", ""), (-0.125, -2.5, float("-inf")), 17)


def failed(run: RunBuilder, text: str, failure: Failure, screened: Screened | None) -> Outcome:
    seed = run.seed(f"seed of {text}")
    made, assignment = run.proposal(text, (seed,))
    outcome = Outcome(assignment, made, failure=failure, screened=screened)
    run.store.record(run.run_id, [outcome], "e")
    return outcome


def sampled_again(run: RunBuilder, made: Candidate, p: float, n: int = 10) -> Outcome:
    """The prompt once more, with n samples of which all are refused with probability p."""
    again = replace(made, operator=RESAMPLE, parents=(made.prompt_id,))
    samples = tuple(
        JudgedSample(Sample(i, REFUSAL, 5, "stop", -4.0, -3.5), (Verdict.scored("j", "1", p),))
        for i in range(n)
    )
    score = Score(p - 1, p - 1, -0.8, None, p, 0.0, 1.0, n, 0)
    evaluation = Evaluation(made.prompt_id, samples, score, n - 3, 5 * (n - 3), 11, 0.5)
    assignment = Assignment(run.index, RESAMPLE, made.strategy, (made,), run.index, run.index)
    run.index += 1
    (known,) = (
        o
        for o in run.store.replay(run.run_id)
        if o.candidate is not None and o.candidate.prompt_id == made.prompt_id and o.evaluation
    )
    outcome = replace(known, assignment=assignment, candidate=again, evaluation=evaluation)
    run.store.record(run.run_id, [outcome], "e")
    return outcome


@pytest.mark.parametrize("screened", [None, Screened(None, False), Screened(0.1 + 0.2, True)])
def test_guess_and_blindness_come_back_as_they_were(
    store: Store, screened: Screened | None
) -> None:
    run = RunBuilder(store)
    away = failed(run, "away", Failure(FailureKind.SCREENED, "P(refusal) 0.01"), screened)
    assert store.replay(run.run_id)[-1] == away


@pytest.mark.parametrize("shown", [OPENING, Opening((), (), 3)])
def test_openings_come_back_as_they_were(store: Store, shown: Opening) -> None:
    run = RunBuilder(store)
    failure = ScreenedOut(FailureKind.SCREENED, "log-odds", shown, 1, shown.n_prompt_tokens)
    away = failed(run, "away", failure, Screened(0.5, False))
    assert store.replay(run.run_id)[-1] == away
    assert away.candidate is not None
    prompt = away.candidate.prompt_id
    assert store.known_openings(run.target_id, [prompt, "0" * 32]) == {prompt: shown}
    assert store.known_openings("another", [prompt]) == {}


def test_an_opening_of_an_unscored_prompt_comes_back_and_is_paid_for(store: Store) -> None:
    run = RunBuilder(store)
    seed = run.seed("a seed")
    made, assignment = run.proposal("nobody can judge it", (seed,))
    sample = JudgedSample(Sample(0, "?", 6, "stop"), (Verdict.unscored("j", "1", "silent"),))
    failure = Unscored(FailureKind.UNSCORED, "silent", (sample,), 1, 7, opening=OPENING)
    before = queries.run_summary(store, run.name)["target_tokens"]
    store.record(run.run_id, [Outcome(assignment, made, failure=failure)], "e")
    assert store.replay(run.run_id)[-1].failure == replace(failure, samples=())
    assert queries.run_summary(store, run.name)["target_tokens"] == before + 7


def test_a_prompt_that_the_predictor_turned_away_has_no_opening_of_another_run(
    store: Store,
) -> None:
    first, second = RunBuilder(store, "first"), RunBuilder(store, "second")
    opened_ = ScreenedOut(FailureKind.SCREENED, "log-odds", OPENING, 1, 17)
    failed(first, "away", opened_, Screened(0.4, False))
    guessed = failed(second, "away", Failure(FailureKind.SCREENED, "P"), Screened(0.01, False))
    assert store.replay(second.run_id)[-1] == guessed
    # Who knew the opening from another run has paid nothing for it.
    third = RunBuilder(store, "third")
    known = failed(third, "away", replace(opened_, target_tokens=0, prompt_tokens=0), None)
    assert store.replay(third.run_id)[-1] == known
    spent = [queries.run_summary(store, name)["target_tokens"] for name in ("first", "third")]
    assert spent[0] == spent[1] + 1


def test_only_the_newest_evaluation_counts_in_query_show_and_exports(
    store: Store, tmp_path: Path
) -> None:
    run = RunBuilder(store)
    seed = run.seed("a seed", refusals=(0.1, 0.1, 0.1))
    lucky = run.evaluated("lucky", (seed,), refusals=(1.0, 1.0, 1.0), fitness=-0.01)
    steady = run.evaluated("steady", (seed,), refusals=(0.8, 0.8, 0.8), fitness=-0.3)
    before = queries.run_summary(store, run.name)
    sampled_again(run, lucky, 0.2)
    sampled_again(run, steady, 0.9)
    rows = {row["prompt"]: row for row in queries.query(store, run=run.name)}
    assert len(rows) == 3
    assert (rows["lucky"]["refusal_rate"], rows["lucky"]["n_samples"]) == (0.2, 10)
    assert rows["steady"]["operator"] == "lexical"
    assert rows["steady"]["parents"] == [seed.prompt_id]
    after = queries.run_summary(store, run.name)
    assert (before["over_refusals"], after["over_refusals"]) == (2, 1)
    assert after["best_fitness"] == pytest.approx(0.9 - 1)
    assert after["evaluations"] == 5
    assert after["target_tokens"] == before["target_tokens"] + 2 * 35
    exported = exporters.rows(store, "test", run=run.run_id)
    assert [row["instruction"] for row in exported] == ["steady"]
    with store.reading() as connection:
        assert [f.prompt for f in found.over_refusals(connection, run.run_id)] == ["steady"]


def test_lineage_shows_the_newest_score_and_the_operator_that_made_the_prompt(
    store: Store,
) -> None:
    run = RunBuilder(store)
    seed = run.seed("a seed")
    parent = run.evaluated("parent", (seed,))
    child = run.evaluated("child", (parent,))
    sampled_again(run, parent, 0.3)
    tree = queries.lineage(store, parent.prompt_id)
    assert (tree["operator"], tree["refusal_rate"]) == ("lexical", 0.3)
    assert tree["parents"] == [seed.prompt_id]
    assert [node["prompt_id"] for node in tree["children"]] == [child.prompt_id]
    (above, _) = queries.lineage(store, child.prompt_id)["ancestors"]
    assert (above["prompt_id"], above["refusal_rate"]) == (parent.prompt_id, 0.3)


def test_a_proposal_under_a_prompt_that_was_sampled_again_keeps_its_parent(store: Store) -> None:
    run = RunBuilder(store)
    parent = run.evaluated("parent", (run.seed("a seed"),))
    sampled_again(run, parent, 0.3)
    run.evaluated("child", (parent,))
    outcomes = store.replay(run.run_id)
    assert outcomes[-1].assignment.parents == (parent,)
    assert outcomes[-2].assignment.parents == (parent,)
