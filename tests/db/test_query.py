"""Queries: whatever the way to the rows, they are those that looking at every row would give."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from db import found, labels, lookup, plan, queries, rejudge
from db.filters import Asked
from db.labels import Label
from db.like import folded
from db.models import Cliff, Evaluation, Prompt, Proposal, utc_now
from db.query import Query
from db.store import Store
from evo.types import RESAMPLE, Strategy, prompt_id
from fitness.types import Verdict
from tests.db.builders import RunBuilder
from workers.interface import ConfigError

OUTCOMES = ["harmless", "controversial", "harmful"]
WORDS = ["kill", "a", "the", "process", "Kill", "100%", "_it_", "été", "ÉTÉ", "\N{KELVIN SIGN}ill"]
MANY = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def run(store: Store) -> RunBuilder:
    return RunBuilder(store, "first")


def prompts(store: Store, *, sort: str = "fitness", **filters: Any) -> list[str]:
    return [row["prompt"] for row in Query(store, Asked(**filters)).sorted(sort).iterate()]


def naive(store: Store, asked: Asked, sort: str) -> list[dict[str, Any]]:
    """Every row is loaded with its decisions, and looked at."""
    with store.reading() as connection:
        rows = found.select_found(
            connection,
            run=asked.run,
            target=asked.target,
            strategy=asked.strategy,
            min_refusal=asked.min_refusal,
            safety=asked.safety,
        )
    wanted = folded(asked.like or "")
    return [
        {
            "prompt_id": f.prompt_id,
            "prompt": f.prompt,
            "run": f.run.run_id,
            "operator": f.operator,
            "parents": list(f.parents),
            "target": f.target_id,
            "fitness": f.score and f.score.fitness,
            "safety": f.safety.value,
        }
        for f in found.ordered(rows, sort)
        if wanted in folded(f.prompt)
    ]


def fill(store: Store, draw: np.random.Generator) -> list[RunBuilder]:
    """Runs of two models, prompts that come again spelled otherwise, people who disagree."""
    runs = []
    for number in range(3):
        gates = ("g",) if number else ("g", "h")
        built = RunBuilder(store, f"r{number}", gates=gates, system_prompt=[None, "p"][number % 2])
        seed = built.seed("The seed of it")
        texts = {" ".join(draw.choice(WORDS, size=int(draw.integers(1, 5)))) for _ in range(6)}
        once = {prompt_id(text): text for text in sorted(texts)}
        for text in once.values():
            said = {gate: str(draw.choice(OUTCOMES, p=[0.6, 0.2, 0.2])) for gate in gates}
            if draw.random() < 0.3:
                built.turned_away(text, (seed,), gates=said)
                continue
            strategy = Strategy(draw.choice([s.value for s in (Strategy.ANGER, Strategy.DESPAIR)]))
            rates = draw.choice([0.0, 0.5, 0.9], size=2).tolist()
            fitness = float(draw.choice([-1.0, -0.5, -0.25]))
            made = built.evaluated(
                text, (seed,), refusals=rates, gates=said, strategy=strategy, fitness=fitness
            )
            if draw.random() < 0.2:
                again = {"refusals": (0.9, 0.9, 0.9), "gates": said, "fitness": -0.125}
                built.evaluated(text, (made,), operator=RESAMPLE, strategy=strategy, **again)
            if draw.random() < 0.3:
                who = str(draw.choice(["ada", "bob"]))
                labels.put(store, [Label(who, str(draw.choice(OUTCOMES)), made.prompt_id)])
        runs.append(built)
    return runs


@MANY
@given(st.integers(0, 2**32), st.data())
def test_every_way_gives_the_rows_that_looking_at_all_would_give(
    store: Store, seed: int, data: st.DataObject
) -> None:
    clear(store)
    runs = fill(store, np.random.default_rng(seed))
    for few in (0, plan.FEW):
        asked = Asked(
            run=data.draw(st.sampled_from([None, "r0", "r2"])),
            target=data.draw(st.sampled_from([None, "tiny-model", runs[1].target_id])),
            strategy=data.draw(st.sampled_from([None, "anger", "extreme_emotion", "seed"])),
            min_refusal=data.draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
            safety=data.draw(st.sampled_from([None, *OUTCOMES])),
            like=data.draw(st.sampled_from([None, "kill", "e", "KILL A", "", "%", "été", "_it"])),
        )
        sort = data.draw(st.sampled_from(["fitness", "refusal"]))
        limit = data.draw(st.sampled_from([None, 1, 3]))
        expected = naive(store, asked, sort)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "FEW", few)
            query = Query(store, asked, sort)
            rows = query.limit(limit).rows()
            assert query.count() == len(expected)
        shown = [{key: row[key] for key in expected[0]} for row in rows] if expected else rows
        assert shown == expected[:limit]


@MANY
@given(st.integers(0, 2**32))
def test_the_columns_say_what_the_decisions_say(store: Store, seed: int) -> None:
    clear(store)
    fill(store, np.random.default_rng(seed))
    with store.reading() as connection:
        live = {
            (f.run.run_id, f.prompt_id): f.safety.value
            for f in found.load_found(connection, turned_away=True)
        }
        for statement in (
            select(Proposal.run_id, Proposal.prompt_id, Proposal.safety).where(
                Proposal.safety.is_not(None)
            ),
            select(Evaluation.run_id, Evaluation.prompt_id, Evaluation.safety),
        ):
            for run_id, prompt, safety in connection.execute(statement):
                assert live[run_id, prompt] == safety


def clear(store: Store) -> None:
    """Hypothesis uses a store again and again."""
    from db.models import Base

    with store.writing() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    store._gates.clear()


@MANY
@given(st.lists(st.text(max_size=12), max_size=6), st.text(max_size=5))
def test_a_text_is_found_where_it_is_and_nowhere_else(
    store: Store, texts: list[str], wanted: str
) -> None:
    clear(store)
    built = RunBuilder(store)
    seed = built.seed("s")
    for text in texts:
        built.evaluated(text, (seed,))
        built.evaluated(text + wanted, (seed,))
    try:
        lookup.require_text("--like", wanted)
    except ConfigError:
        return
    every = prompts(store)
    assert prompts(store, like=wanted) == [t for t in every if folded(wanted) in folded(t)]


@pytest.mark.parametrize("limit", [1, 3, 5, 12, 19])
def test_the_top_of_what_contains_a_text_is_the_beginning_of_all_of_it(
    store: Store, run: RunBuilder, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(plan, "_FIRST", 1)  # many small looks at the top
    for built, fitness in ((run, (-0.75, -0.25)), (RunBuilder(store, "second"), (-0.5, -0.9))):
        seed = built.seed("s")
        for number in range(10):
            built.evaluated(f"kill  {number}", (seed,), fitness=fitness[number > 6])
    other = RunBuilder(store, "third")  # spells them otherwise, and is the fittest
    seed = other.seed("s")
    for number in range(7, 10):
        other.evaluated(f"kill {number}", (seed,), fitness=-0.1)
    asked = Query(store).where(like="kill  ")
    assert len(asked.rows()) == 20
    assert asked.limit(limit).rows() == asked.rows()[:limit]


def test_a_spelling_that_came_later_is_found_too(store: Store, run: RunBuilder) -> None:
    seed = run.seed("Strangle  the   process")
    second = RunBuilder(store, "second")
    second.evaluated("strangle the process", (seed,))
    assert prompts(store, like="strangle the process") == ["strangle the process"]
    assert prompts(store, like="strangle  the") == ["Strangle  the   process"]


def test_text_search_survives_a_vacuum(store: Store, run: RunBuilder) -> None:
    with store.writing() as connection:  # a hole in the row numbers, which VACUUM closes
        hole = {"prompt_id": "0" * 32, "text": "x", "created_at": utc_now()}
        connection.execute(insert(Prompt), [hole])
    seed = run.seed("the seed")
    for number in range(20):
        run.evaluated(f"kill number {number} now", (seed,))
    with store.writing() as connection:
        connection.execute(delete(Prompt).where(Prompt.prompt_id == "0" * 32))
    with contextlib.closing(store.engine.raw_connection()) as raw:
        if store.engine.dialect.name == "postgresql":
            raw.driver_connection.autocommit = True
        raw.cursor().execute("VACUUM")
        if store.engine.dialect.name == "postgresql":
            raw.driver_connection.autocommit = False
    assert prompts(store, like="number 17 now") == ["kill number 17 now"]


# People and judges


def test_a_label_changes_what_a_query_finds_and_taking_it_back_too(
    store: Store, run: RunBuilder
) -> None:
    made = run.evaluated("odd", (run.seed("s"),))
    label = Label("ada", "harmful", made.prompt_id)
    labels.put(store, [label])
    assert prompts(store, safety="harmful") == ["odd"]
    labels.take_back(store, label)
    assert prompts(store, safety="harmful") == []
    assert sorted(prompts(store, safety="harmless")) == ["odd", "s"]


def test_a_gate_that_speaks_later_counts_for_a_proposal_that_named_none(store: Store) -> None:
    first = RunBuilder(store, "old")
    first.evaluated("text", (first.seed("s", gates={}),), gates={})
    assert prompts(store, safety="harmless") == []
    second = RunBuilder(store, "new")
    second.evaluated("text", (second.seed("s"),))
    assert sorted(prompts(store, safety="harmless", run="old")) == ["s", "text"]


def test_judges_that_differ_are_found_whoever_spoke_last(store: Store, run: RunBuilder) -> None:
    seed = run.seed("s", refusals=(0.9, 0.1))
    one = run.evaluated("one", (seed,), refusals=(0.9, 0.1))
    two = run.evaluated("two", (seed,), refusals=(0.9, 0.1))
    assert prompts(store, disagree=True) == []
    key = (run.target_id, one.prompt_id, 0)
    rejudge.add(store, [(key, Verdict.scored("k", "1", 0.2))])
    rejudge.add(store, [((run.target_id, two.prompt_id, 0), Verdict.scored("k", "1", 0.7))])
    assert prompts(store, disagree=True) == ["one"]
    label = Label("ada", "refusal", two.prompt_id, run.target_id, 1)
    labels.put(store, [label])
    assert sorted(prompts(store, disagree=True)) == ["one", "two"]
    labels.take_back(store, label)
    assert prompts(store, disagree=True) == ["one"]


# Transfer, boundary, cliffs, nearness


@pytest.fixture
def transferred(store: Store) -> dict[str, str]:
    """Three targets that share prompts: target ids by name."""
    ids = {}
    rates = {"a": (0.9, 0.9, 0.9), "b": (0.9, 0.1, 0.9), "c": (0.1, 0.1, 0.9)}
    for name, each in rates.items():
        built = RunBuilder(store, name, system_prompt=name)
        seed = built.seed("s", refusals=(0.0,))
        for text, rate in zip(("falls off", "only a", "all"), each, strict=True):
            built.evaluated(text, (seed,), refusals=(rate, rate))
        ids[name] = built.target_id
    return ids


@pytest.mark.parametrize("few", [0, plan.FEW])
def test_transfer_is_refused_by_each_and_answered_by_each(
    store: Store, transferred: dict[str, str], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FEW", few)
    a, b, c = (transferred[name] for name in "abc")
    rows = Query(store).where(refused_by=(a, b), answered_by=(c,)).rows()
    assert [row["prompt"] for row in rows] == ["falls off"] * 2
    assert {row["target"] for row in rows} == {a, b}
    assert prompts(store, refused_by=(a,), answered_by=(b, c)) == ["only a"]
    assert sorted(set(prompts(store, answered_by=(a,)))) == ["s"]
    assert prompts(store, refused_by=(a,), answered_by=(c,), target=c, like="only") == ["only a"]


def test_a_target_cannot_refuse_and_answer_the_same_prompt(
    store: Store, transferred: dict[str, str]
) -> None:
    a = transferred["a"]
    with pytest.raises(ConfigError, match="name the same target"):
        Query(store).where(refused_by=(a,), answered_by=(a,)).rows()
    with pytest.raises(ConfigError, match=r"--answered-by tiny-modle: .*did you mean"):
        Query(store).where(answered_by=("tiny-modle",)).rows()


def test_cliffs_put_the_deepest_first_and_prompts_without_any_last(
    store: Store, run: RunBuilder
) -> None:
    seed = run.seed("s", fitness=-0.9)
    made = {name: run.evaluated(name, (seed,)) for name in ("flat", "deep", "deeper", "none")}
    cliffs = [("flat", 0, 0.0), ("deep", 0, 0.5), ("deep", 1, 0.1), ("deeper", 0, 0.75)]
    with store.writing() as connection:
        connection.execute(
            insert(Cliff),
            [
                {
                    "target_id": run.target_id,
                    "prompt_id": made[name].prompt_id,
                    "sample_index": index,
                    "probe": "p",
                    "version": "1",
                    "plateau": 0.75,
                    "final": 0.75 - cliff,
                    "cliff": cliff,
                    "position": 3,
                    "n_tokens": 9,
                    "kind": "cliff",
                }
                for name, index, cliff in cliffs
            ],
        )
    rows = Query(store).sorted("cliff").rows()
    assert [(row["prompt"], row["cliff"]) for row in rows] == [
        ("deeper", 0.75),
        ("deep", 0.5),
        ("flat", 0.0),
        ("none", None),
        ("s", None),
    ]
    limited = Query(store).sorted("cliff").limit(2).rows()
    assert [row["prompt"] for row in limited] == ["deeper", "deep"]


def test_the_nearest_prompts_come_first_however_many_are_filtered_out(
    store: Store, run: RunBuilder
) -> None:
    seed = run.seed("s")
    texts = [f"text {number}" for number in range(30)]
    for number, text in enumerate(texts):
        rate = 0.9 if number >= 20 else 0.1
        run.evaluated(text, (seed,), refusals=(rate, rate))

    def nearest(k: int) -> Sequence[tuple[str, float]]:
        return [(prompt_id(text), 1 - n / 100) for n, text in enumerate(texts)][:k]

    rows = Query(store).where(min_refusal=0.5).near(nearest).limit(2).rows()
    assert [(row["prompt"], row["cosine"]) for row in rows] == [("text 20", 0.8), ("text 21", 0.79)]


# Composing and taking


def test_a_query_is_a_value(store: Store, run: RunBuilder) -> None:
    run.evaluated("hit", (run.seed("s", refusals=(0.0,)),))
    every = Query(store)
    some = every.where(min_refusal=0.5).where(like="HI").limit(5)
    assert [row["prompt"] for row in some.rows()] == ["hit"]
    assert len(every.rows()) == 2
    assert some.where(like=None, min_refusal=None).rows() == every.rows()


def test_tables_have_the_same_columns_with_and_without_rows(store: Store, run: RunBuilder) -> None:
    run.evaluated("hit", (run.seed("s"),), confidence=None)
    full, none = Query(store).to_arrow(), Query(store).where(like="nowhere").to_arrow()
    assert full.schema == none.schema
    assert full.column_names == list(queries.COLUMNS)
    assert full.to_pylist() == Query(store).rows()
    frame = Query(store).sorted("novelty").to_pandas()
    assert list(frame.columns) == [*queries.COLUMNS, "novelty"]
    assert frame["n_samples"].tolist() == [3, 3]


def test_rows_are_read_as_they_are_taken(store: Store, run: RunBuilder) -> None:
    seed = run.seed("s")
    for number in range(5):
        run.evaluated(f"text {number}", (seed,))
    first = list(itertools.islice(Query(store).iterate(), 2))
    assert first == Query(store).limit(2).rows()
    run.evaluated("one more", (seed,))  # nobody is waited for
    assert len(Query(store).rows()) == 7
