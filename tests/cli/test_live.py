"""The live view: what a person sees of a search under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from evo.api import Watched
from evo.cli import live
from evo.cli.figures import ranked
from evo.run import Loop
from fitness.evaluate import Evaluator
from fitness.judges.prefix import PrefixJudge
from tests.db.test_course import by_strategy
from tests.fakes import FakeEngine
from tests.loop_fakes import config, loop
from workers.status import PoolStatus


class IdlePool:
    """The status of a pool without replicas."""

    def status(self) -> PoolStatus:
        return PoolStatus("target", (), waiting=0, quarantined=0, restarts=0, mean_busy=0.0)


def watched(**changes: Any) -> tuple[Loop, Watched]:
    settings = config(budget__evaluations=120, search__settle=0.1, **changes)
    running = loop(settings)
    running.evaluator = Evaluator(FakeEngine(by_strategy), [PrefixJudge()])
    pool: Any = IdlePool()
    return running, Watched(
        "id", "name", settings, running.progress, pool, False, search=running.search
    )


def shown(seen: Watched, *, each: bool = True) -> dict[str, str]:
    return dict(live._figures(seen, _rates(seen), each=each))


def _rates(seen: Watched) -> live._Rates:
    rates = live._Rates()
    rates.note(seen)
    return rates


def test_a_search_says_what_it_screens_draws_and_finds() -> None:
    running, seen = watched()
    asyncio.run(running.run())
    said = shown(seen)
    assert f"{running.progress.screened['opening']} by opening of" in said["screened"]
    assert said["samples a prompt"].endswith(f"{running.progress.resampled} completed")
    assert 2.0 <= float(said["samples a prompt"].split(",")[0]) < 10.0
    assert said["clusters"].split()[1].startswith("effective")
    assert said["refusals begin"].startswith('"I\'m"; sampled from P(refusal) ')
    best = ranked(live._arms(running.progress))[0]
    assert best["over_refusals"] > 0
    assert said["best strategies"].startswith(
        f"lexical {best['strategy']} {best['over_refusals']}/"
    )


def test_before_anything_was_told_nothing_is_claimed() -> None:
    _, seen = watched()
    said = shown(seen)
    assert said["screened"] == "nothing yet"
    assert said["clusters"] == "0.0 effective"
    assert said["best strategies"] == "none yet"
    assert "refusals begin" not in said


def test_what_is_switched_off_or_unknown_to_an_algorithm_is_not_shown() -> None:
    off = {"predictor": False, "opening": False}
    running, seen = watched(search__algorithm="random", search__screening=off)
    asyncio.run(running.run())
    said = shown(seen)
    assert not {"screened", "clusters", "refusals begin"} & set(said)
    assert {"samples a prompt", "best strategies"} <= set(said)


def test_a_collapse_is_shown_with_its_answer() -> None:
    running, seen = watched()
    algorithm: Any = running.search.diversity
    for number in [*range(60), *[0] * 160]:
        algorithm._watch.note(number)
    assert shown(seen, each=False)["clusters"].endswith(
        "1 collapse; collapsed: more seeds and rare cells until it has recovered"
    )


@pytest.mark.parametrize(
    ("arms", "order"),
    [
        ([("a", 1, 1), ("b", 20, 12)], ["b", "a"]),  # one of one is little evidence
        ([("b", 4, 2), ("a", 4, 2), ("none", 0, 0)], ["a", "b"]),
    ],
)
def test_strategies_are_ranked_by_what_is_sure_of_them(
    arms: Sequence[tuple[str, int, int]], order: list[str]
) -> None:
    rows = [
        {"operator": "o", "strategy": s, "proposals": n, "over_refusals": hits}
        for s, n, hits in arms
    ]
    assert [arm["strategy"] for arm in ranked(rows)] == order
