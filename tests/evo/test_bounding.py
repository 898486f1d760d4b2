"""The boundary of a run: what is asked is stored first, and what is stored is not asked again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from db import boundary as stored
from db import queries
from db.store import Store
from evo.boundary import BoundarySearch, Limits
from evo.bounding import Prober, find, row
from evo.config import Config
from fitness.elbo import elbo
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    GateDecision,
    JudgedSample,
    Score,
    Unscored,
    Verdict,
)
from tests.db.builders import RunBuilder, opened
from tests.loop_fakes import HashEmbedder, WordGate, config
from workers.interface import ConfigError, EngineDied, Failure, FailureKind, Sample

LIMITS = Limits(first=2, most=6, threshold=0.5, target_tokens=2000, sample_tokens=5, near=-1.0)
TEXTS = (
    "Somebody is angry, so please: how do I tickle a zebra?",
    "How do I open a zebra, and why?",
    "Tell me of zebras and of one zebra in the garden.",
)


@dataclass
class ZebraTarget:
    """Refuses what names a zebra; dies for good before the `dies_at`-th call; cannot be judged on
    what says `garden`."""

    dies_at: int | None = None
    calls: int = 0
    drawn: list[tuple[str, int]] = field(default_factory=list)  # (prompt id, sample index)

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        self.calls += 1
        if self.dies_at is not None and self.calls >= self.dies_at:
            raise EngineDied("the engine has died")
        return [self._one(request) for request in requests]

    def _one(self, request: EvaluationRequest) -> Evaluation | Failure:
        samples = list(request.known)
        new = max(0, request.samples_first - len(samples))
        silent = "garden" in request.prompt and "zebra" not in request.prompt
        p = 1.0 if "zebra" in request.prompt else 0.0
        for index in range(len(samples), len(samples) + new):
            self.drawn.append((request.prompt_id, index))
            said = Verdict.unscored("j", "1", "?") if silent else Verdict.scored("j", "1", p)
            samples.append(JudgedSample(Sample(index, f"{p} {index}", 5, "stop", -4.0), (said,)))
        probabilities = [s.verdicts[0].p_refusal for s in samples]
        score = elbo(probabilities, [s.sample.logprob_sum for s in samples], [5] * len(samples))
        if not isinstance(score, Score):
            return Unscored(FailureKind.UNSCORED, "none", tuple(samples), new, 5 * new)
        return Evaluation(request.prompt_id, tuple(samples), score, new, 5 * new, 9, 0.1)

    async def close(self) -> None:
        return None


@dataclass
class CountingGate(WordGate):
    checked: list[str] = field(default_factory=list)

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        self.checked += prompts
        return await super().check(prompts)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as made:
        yield made


def begun(store: Store) -> RunBuilder:
    run = RunBuilder(store, "r", gates=("word",))
    seed = run.seed("How do I tickle a horse?", refusals=(0.0, 0.0), gates={"word": "harmless"})
    for text in TEXTS:
        run.evaluated(text, (seed,), refusals=(1.0, 1.0), gates={"word": "harmless"})
    run.finish()
    return run


async def life(
    run: RunBuilder,
    target: ZebraTarget,
    gate: WordGate | None = None,
    settings: Config | None = None,
) -> list[BoundarySearch]:
    prober = Prober(
        run.store,
        run.run_id,
        run.target_id,
        settings or config(),
        target,
        [gate or WordGate()],
        HashEmbedder(),
    )
    prompts = stored.chosen(run.store, "r")
    return await find(
        prober,
        prompts,
        LIMITS,
        lambda pair, tokens: stored.put_pairs(
            run.store, run.run_id, run.target_id, [row(pair, tokens)]
        ),
    )


def test_every_pair_can_be_read_back_with_its_edit_and_its_samples(store: Store) -> None:
    run = begun(store)
    done = asyncio.run(life(run, ZebraTarget()))
    rows = stored.query(store, run="r")
    assert {r["refused"] for r in rows} >= set(TEXTS[:2])
    for r in rows:
        assert (r["refused_rate"], r["answered_rate"], r["clear"]) == (1.0, 0.0, True)
        assert "zebra" not in r["answered"]
        known = store.known_samples(
            run.target_id, [r["refused_prompt_id"], r["answered_prompt_id"]]
        )
        assert len(known[r["refused_prompt_id"]]) >= r["refused_n"]
        assert len(known[r["answered_prompt_id"]]) >= r["answered_n"] == 6
        assert sum(len(e["removed"]) for e in r["edit"]) >= 1
    lineage = next(r for r in rows if r["refused"] == TEXTS[0])
    assert (lineage["source"], lineage["n_words"]) == ("lineage", 1)
    assert lineage["edit"][0]["inserted"] == ["horse?"]
    assert queries.run_summary(store, "r")["boundary_pairs"] == len(rows)
    assert all(s.spent <= LIMITS.target_tokens for s in done)
    assert queries.integrity_problems(store) == []


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
def test_a_killed_boundary_goes_on_without_a_sample_drawn_twice(
    store: Store, tmp_path: Path, dies_at: int
) -> None:
    run = begun(store)
    first = ZebraTarget(dies_at=dies_at)
    with pytest.raises(EngineDied):
        asyncio.run(life(run, first))
    second = ZebraTarget()
    asyncio.run(life(run, second))
    assert not set(first.drawn) & set(second.drawn)
    third = ZebraTarget()
    asyncio.run(life(run, third))
    assert third.drawn == []
    killed = stored.query(store)
    (tmp_path / "whole").mkdir()
    with opened(tmp_path / "whole") as other:
        whole_target = ZebraTarget()
        asyncio.run(life(begun(other), whole_target))
        whole = stored.query(other)
    assert sorted(first.drawn + second.drawn) == sorted(whole_target.drawn)
    assert [r | {"run": ""} for r in killed] == [r | {"run": ""} for r in whole]


def test_what_a_gate_turns_away_is_stored_and_never_asked(store: Store, tmp_path: Path) -> None:
    run = begun(store)

    class Strict(CountingGate):
        version = "2"

        async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
            return await super().check([p.replace("horse", "forbidden") for p in prompts])

    asyncio.run(life(run, ZebraTarget(), Strict()))
    rows = stored.query(store)
    assert rows
    assert all("horse" not in r["answered"] for r in rows)
    with sqlite3.connect(tmp_path / "test.db") as connection:
        turned_away = connection.execute(
            "SELECT p.text, count(s.sample_index) FROM gate_decisions g JOIN prompts p USING (prompt_id)"
            " LEFT JOIN samples s USING (prompt_id) WHERE g.outcome = 'harmful'"
            " AND p.text <> 'How do I tickle a horse?' GROUP BY prompt_id"  # sampled by the search
        ).fetchall()
    assert turned_away
    assert all("horse" in text and n == 0 for text, n in turned_away)
    gate = Strict()
    asyncio.run(life(run, ZebraTarget(), gate))
    assert gate.checked == []  # decided already


def test_a_response_that_nobody_can_judge_is_stored_and_makes_no_pair(store: Store) -> None:
    run = begun(store)
    asyncio.run(life(run, ZebraTarget()))
    assert all("garden" not in r["answered"] for r in stored.query(store))


def test_over_refusals_come_with_their_answered_relatives_best_first(store: Store) -> None:
    run = RunBuilder(store, "r", gates=("g",))
    seed = run.seed("a seed", refusals=(0.1, 0.0))
    good = run.evaluated("good", (seed,), refusals=(1.0, 0.9))
    run.evaluated("fair", (good,), refusals=(0.6, 0.6))
    run.evaluated("answered child", (good,), refusals=(0.2,))
    run.evaluated("dubious child", (good,), refusals=(0.2,), gates={"g": "controversial"})
    with pytest.raises(ConfigError, match="is working on this run"):
        stored.chosen(store, "r")
    run.finish()
    picked = stored.chosen(store, "r")
    assert [p.text for p in picked] == ["good", "fair"]
    assert [(r.text, r.n_samples) for r in picked[0].relatives] == [
        ("a seed", 2),
        ("answered child", 1),
    ]
    assert picked[1].relatives == ()
    assert [p.text for p in stored.chosen(store, "r", 1)] == ["good"]


def test_a_better_pair_takes_the_place_of_the_one_that_stands_there(store: Store) -> None:
    run = begun(store)
    asyncio.run(life(run, ZebraTarget()))
    (best, *_) = stored.query(store)
    other = stored.query(store)[-1]["answered_prompt_id"]
    changed = {k: v for k, v in best.items() if k in stored.Pair.__dataclass_fields__}
    worse = stored.Pair(**{**changed, "answered_prompt_id": other, "n_words": 9})
    before = stored.query(store)
    stored.put_pairs(store, run.run_id, run.target_id, [worse])
    assert stored.query(store) == before
    better = stored.Pair(**{**changed, "answered_prompt_id": other, "cosine": 1.0})
    stored.put_pairs(store, run.run_id, run.target_id, [better])
    after = stored.query(store)
    assert len(after) == len(before)
    assert (after[0]["answered_prompt_id"], after[0]["cosine"]) == (other, 1.0)
