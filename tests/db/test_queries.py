"""Reading the record: counts, filters, lineage, and names that are found or explained."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import lookup, queries
from db.store import Store
from evo.types import Strategy, prompt_id
from tests.db.builders import RunBuilder
from workers.interface import ConfigError, FailureKind
from workers.status import ReplicaState, ReplicaStatus


@pytest.fixture
def run(store: Store) -> RunBuilder:
    return RunBuilder(store, "first")


def prompts(store: Store, **options: Any) -> list[str]:
    return [row["prompt"] for row in queries.query(store, **options)]


def test_a_summary_counts_what_the_run_found_and_paid(store: Store, run: RunBuilder) -> None:
    seed = run.seed("a seed", refusals=(0.9, 0.9))
    run.evaluated("hit", (seed,), refusals=(1.0, 0.9), vector=(1.0, 0.0))
    run.evaluated("look-alike", (seed,), refusals=(0.8, 0.8), vector=(0.99, 0.1411))
    run.evaluated("another hit", (seed,), refusals=(0.5, 0.5), vector=(0.0, 1.0))
    run.evaluated("answered", (seed,), refusals=(0.1, 0.0), n_new=0)
    dubious: dict[str, Any] = {"gates": {"g": "controversial"}, "vector": (0.0, -1.0)}
    run.evaluated("dubious", (seed,), refusals=(1.0, 1.0), **dubious)
    run.turned_away("bad", (seed,), gates={"g": "harmful"})
    run.turned_away("hit", (seed,), FailureKind.DUPLICATE, gates={})
    run.finish()
    summary = queries.run_summary(store, "first")
    assert summary == {
        "run": run.run_id,
        "name": "first",
        "status": "finished",
        "stop_reason": "budget: done",
        "evaluations": 6,
        "samples": 12,
        "target_tokens": 50,
        "prompt_tokens": 66,
        "money_usd": 0.0,
        "over_refusals": 3,
        "clusters": 2,
        "boundary_pairs": 0,
        "seed_over_refusals": 1,
        "best_fitness": 0.0,
        "without_confidence": 0,
        "unscored": 0,
        "wall_s": 12.5,
        "replica_busy": 0.75,
        "cache_hits": 1,
        "rejected": {"duplicate": 1, "not_harmless": 1},
        "response_classes": {"hard_refusal": 10, "direct_answer": 2},
        "replicas": [],
        "targets": [
            {
                "target": run.target_id,
                "model": "tiny-model",
                "system_prompt": None,
                "evaluations": 6,
                "target_tokens": 50,
                "refusal_rate": pytest.approx((0.9 + 0.95 + 0.8 + 0.5 + 0.05 + 1.0) / 6),
                "refused": 5,
                "best_fitness": 0.0,
            }
        ],
        "screened": {"predictor": 0, "opening": 0},
        "blind": 0,
        "looked_at": 0,
        "resampled": 0,
        "samples_per_evaluation": 2.0,
        "sample_counts": {"2": 6},
        "strategies": [
            {
                "operator": "lexical",
                "strategy": "violent_words",
                "proposals": 5,
                "over_refusals": 3,
            },
            {"operator": "lexical", "strategy": "anger", "proposals": 2, "over_refusals": 0},
        ],
        "effective_clusters": pytest.approx(2.828, abs=0.001),  # of sizes 2, 1, 1
        "collapses": 0,
        "collapsed": False,
        "openers": None,
    }


def test_a_summary_and_the_rows_say_where_the_fitness_is_the_refusal_term_alone(
    store: Store, run: RunBuilder
) -> None:
    seed = run.seed("with", confidence=-0.5)
    run.evaluated("without", (seed,), confidence=None)
    assert queries.run_summary(store, "first")["without_confidence"] == 1
    terms = {row["prompt"]: row["fitness_terms"] for row in queries.query(store)}
    assert terms == {"with": "refusal+confidence", "without": "refusal"}


def test_a_summary_adds_up_what_every_proposal_cost(store: Store, run: RunBuilder) -> None:
    seed = run.seed("a seed", cost_usd=0.25)
    run.evaluated("a child", (seed,), cost_usd=0.5)
    run.turned_away("a third", (seed,))
    assert queries.run_summary(store, "first")["money_usd"] == 0.75


def test_a_summary_counts_the_kinds_of_responses_by_the_judge_that_decided(
    store: Store, run: RunBuilder
) -> None:
    seed = run.seed("a seed", refusals=(0.9, 0.2, 0.1))
    run.evaluated("a child", (seed,), refusals=(0.9,))
    assert queries.run_summary(store, "first")["response_classes"] == {
        "direct_answer": 2,
        "hard_refusal": 2,
    }


def test_a_run_without_anything_has_a_summary(store: Store, run: RunBuilder) -> None:
    summary = queries.run_summary(store, run.run_id)
    assert (summary["evaluations"], summary["best_fitness"], summary["clusters"]) == (0, None, 0)


def test_runs_are_listed_newest_last(store: Store, run: RunBuilder) -> None:
    run.evaluated("hit", (run.seed("s"),))
    second = RunBuilder(store, "first")
    listed = queries.runs(store)
    assert [row["name"] for row in listed] == ["first", "first-2"]
    assert [row["over_refusals"] for row in listed] == [1, 0]
    assert listed[1]["run"] == second.run_id
    assert set(listed[0]) == {"run", "name", "kind", "status", "started", "over_refusals"}
    assert listed[0]["started"].endswith("Z")
    assert listed[0]["started"].count("T") == 1


def test_every_gate_of_the_run_must_have_called_a_prompt_harmless(store: Store) -> None:
    run = RunBuilder(store, gates=("g", "h"))
    seed = run.seed("s", gates={"g": "harmless", "h": "harmless"})
    run.evaluated("both", (seed,), gates={"g": "harmless", "h": "harmless"})
    run.evaluated("one", (seed,), gates={"g": "harmless"})
    run.evaluated("split", (seed,), gates={"g": "harmless", "h": "controversial"})
    assert queries.run_summary(store, run.run_id)["over_refusals"] == 1
    assert prompts(store, safety="harmless", strategy="violent_words") == ["both"]
    assert sorted(prompts(store, safety="controversial")) == ["one", "split"]


def test_a_run_without_gates_has_no_harmless_prompt(store: Store) -> None:
    run = RunBuilder(store, gates=())
    run.evaluated("free", (run.seed("s"),), gates={})
    assert queries.run_summary(store, run.run_id)["over_refusals"] == 0


def test_a_later_version_of_a_gate_does_not_change_an_earlier_run(store: Store) -> None:
    first = RunBuilder(store, "old")
    first.evaluated("text", (first.seed("s"),))
    second = RunBuilder(store, "new")
    seed = second.seed("s")
    second.evaluated("text", (seed,), gates={"g": "harmful"}, gate_version="2")
    assert queries.run_summary(store, "old")["over_refusals"] == 1
    assert queries.run_summary(store, "new")["over_refusals"] == 0


def test_query_filters_and_sorts(store: Store, run: RunBuilder) -> None:
    seed = run.seed("the seed", refusals=(0.0, 0.0), fitness=-0.5)
    run.evaluated("kill 100% of it", (seed,), refusals=(0.9, 0.5), fitness=-3.0)
    run.evaluated("kill_it", (seed,), refusals=(0.5, 0.5), fitness=-1.0, strategy=Strategy.DESPAIR)
    assert prompts(store) == ["the seed", "kill_it", "kill 100% of it"]
    assert prompts(store, sort="refusal", limit=1) == ["kill 100% of it"]
    assert prompts(store, like="100%") == ["kill 100% of it"]
    assert prompts(store, like="l_i") == ["kill_it"]
    assert prompts(store, like="KILL", min_refusal=0.6) == ["kill 100% of it"]
    assert prompts(store, strategy="extreme_emotion") == ["kill_it"]
    assert len(prompts(store, target="tiny-model", run="first")) == 3
    assert len(prompts(store, target=run.target_id[:6])) == 3
    assert prompts(store, like="'; DROP TABLE prompts; --") == []
    assert tuple(queries.query(store)[0]) == queries.COLUMNS


def test_what_the_gates_turned_away_can_be_asked_for(store: Store, run: RunBuilder) -> None:
    seed = run.seed("s")
    run.turned_away("bad", (seed,), gates={"g": "harmful"})
    (row,) = queries.query(store, safety="harmful")
    assert (row["prompt"], row["refusal_rate"], row["model"]) == ("bad", None, "tiny-model")
    assert prompts(store) == ["s"]


def test_novelty_is_the_distance_to_the_nearest_others(store: Store, run: RunBuilder) -> None:
    seed = run.seed("s", vector=(1.0, 0.0, 0.0))
    run.evaluated("near", (seed,), vector=(1.0, 0.0, 0.0))
    run.evaluated("far", (seed,), vector=(0.0, 1.0, 0.0))
    rows = queries.query(store, sort="novelty")
    assert rows[0]["prompt"] == "far"
    assert [row["novelty"] for row in rows] == pytest.approx([1.0, 0.5, 0.5])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=8), st.sampled_from(lookup.SORTS), st.integers(1, 5))
def test_any_text_can_be_looked_for(store: Store, text: str, sort: str, limit: int) -> None:
    if not queries.runs(store):
        run = RunBuilder(store)
        run.evaluated("%_\\/'\" plain", (run.seed("s"),))
    try:
        first = queries.query(store, like=text, sort=sort, limit=limit)
    except ConfigError as error:
        assert "not UTF-8" in str(error)  # noqa: PT017 - surrogates come from odd command lines
        return
    assert first == queries.query(store, like=text, sort=sort, limit=limit)
    if text and text.isascii() and "\0" not in text:
        found = [row["prompt"] for row in first]
        assert all(text.lower() in prompt.lower() for prompt in found)


def test_lineage_goes_up_to_the_seed_and_down_to_the_last_leaf(
    store: Store, run: RunBuilder
) -> None:
    seed = run.seed("seed")
    other = run.seed("other seed")
    middle = run.evaluated("middle", (seed,))
    cross = run.evaluated("cross", (middle, other))
    run.evaluated("leaf", (cross,))
    run.turned_away("rejected leaf", (cross,))
    run.turned_away("middle", (cross,), FailureKind.DUPLICATE, gates={})
    tree = queries.lineage(store, cross.prompt_id[:9])
    assert tree["prompt"] == "cross"
    assert [node["prompt"] for node in tree["ancestors"]] == ["middle", "other seed", "seed"]
    assert [node["prompt"] for node in tree["children"]] == ["leaf", "rejected leaf"]
    assert tree["children"][1]["refusal_rate"] is None
    whole = queries.lineage(store, seed.prompt_id)
    assert [node["prompt"] for node in whole["descendants"]] == [
        "middle",
        "cross",
        "leaf",
        "rejected leaf",
    ]
    assert tree["run"] == run.run_id
    assert tree["parents"] == [middle.prompt_id, other.prompt_id]


def test_a_run_is_found_by_name_id_and_beginning(store: Store, run: RunBuilder) -> None:
    assert queries.find_run(store, "first") == run.run_id
    assert queries.find_run(store, run.run_id) == run.run_id
    assert queries.find_run(store, run.run_id[:8]) == run.run_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "frist"}, "did you mean 'first'"),
        ({"run": "\udcff"}, "not UTF-8"),
        ({"target": "tiny-modle"}, "did you mean 'tiny-model'"),
        ({"strategy": "violent_word"}, "did you mean 'violent_words'"),
        ({"safety": "harmles"}, "did you mean 'harmless'"),
        ({"sort": "depth"}, "not one of fitness"),
        ({"min_refusal": 1.5}, "between 0 and 1"),
        ({"min_refusal": float("nan")}, "between 0 and 1"),
        ({"limit": 0}, "1 or more"),
    ],
)
def test_what_is_not_there_is_explained(
    store: Store, run: RunBuilder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        queries.query(store, **options)


def test_an_unknown_prompt_is_explained(store: Store, run: RunBuilder) -> None:
    run.seed("a")
    run.seed("b")
    for wrong, message in (("zz", "no id begins so"), ("", "no id begins|several"), ("%", "no id")):
        with pytest.raises(ConfigError, match=message):
            queries.lineage(store, wrong)
    RunBuilder(store, "second")
    with pytest.raises(ConfigError, match="not in this run"):
        queries.lineage(store, prompt_id("a"), "second")


def test_a_sound_database_has_no_problems(store: Store, run: RunBuilder) -> None:
    run.seed("a")
    assert queries.integrity_problems(store) == []


def test_the_last_heartbeat_says_how_each_replica_did(store: Store, run: RunBuilder) -> None:
    def replica(number: int, tokens: int) -> ReplicaStatus:
        return ReplicaStatus(
            pool="target",
            number=number,
            state=ReplicaState.READY,
            pid=1,
            queue=2,
            finished=9,
            tokens=tokens,
            tokens_per_s=3.5,
            busy=0.5,
            restarts=1,
        )

    store.heartbeat(run.run_id, 1.0, 0.5, [replica(0, 10), replica(1, 20)])
    store.heartbeat(run.run_id, 2.0, 0.5, [replica(1, 30)])
    assert queries.run_summary(store, run.run_id)["replicas"] == [
        {
            "pool": "target",
            "number": 1,
            "state": "ready",
            "queue": 2,
            "finished": 9,
            "tokens": 30,
            "tokens_per_s": 3.5,
            "busy": 0.5,
            "restarts": 1,
        }
    ]
