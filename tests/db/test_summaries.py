"""What is said of a run that has ended is kept, and is what the rows say, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from db import boundary, labels, queries, summaries
from db.labels import Label
from db.models import RunSummary
from db.retention import Keep
from db.store import Store
from db.upkeep import vacuum
from evo.types import prompt_id
from tests.db.builders import RunBuilder


@pytest.fixture
def ended(store: Store) -> RunBuilder:
    run = RunBuilder(store, "ended")
    seed = run.seed("a seed", refusals=(0.1, 0.2))
    run.evaluated("a hit", (seed,), refusals=(1.0, 0.9))
    run.evaluated("answered", (seed,), refusals=(0.0, 0.1))
    run.finish()
    return run


def reckoned(store: Store, run: RunBuilder) -> dict[str, object]:
    with store.reading() as connection:
        return queries.reckon(connection, run.run_id)


def rounded(value: object) -> object:
    """A mean is summed in the order of the rows, which compacting changes."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 12) if isinstance(value, float) else value


def n_kept(store: Store) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(RunSummary)) or 0


def test_what_is_kept_is_what_the_rows_say(store: Store, ended: RunBuilder) -> None:
    going_on = RunBuilder(store, "going on")
    going_on.seed("another seed")
    before = queries.runs(store)
    assert summaries.keep(store) == 1
    assert summaries.keep(store) == 0
    assert queries.run_summary(store, "ended") == reckoned(store, ended)
    assert queries.runs(store) == before
    assert n_kept(store) == 1


def test_a_run_that_has_ended_is_not_reckoned_again(
    store: Store, ended: RunBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries.keep(store)
    monkeypatch.setattr(queries, "reckon", lambda *_: pytest.fail("reckoned again"))
    assert queries.run_summary(store, "ended")["over_refusals"] == 1


def test_a_summary_of_another_form_is_reckoned_anew(
    store: Store, ended: RunBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries.keep(store)
    monkeypatch.setattr(summaries, "FORM", summaries.FORM + 1)
    with store.reading() as connection:
        assert summaries.kept(connection, ended.run_id) is None
    assert summaries.keep(store) == 1


def a_person_disagrees(store: Store, run: RunBuilder) -> None:
    labels.put(store, [Label("ada", "harmful", prompt_id("a hit"))])


def a_person_thinks_again(store: Store, run: RunBuilder) -> None:
    a_person_disagrees(store, run)
    summaries.keep(store)
    labels.take_back(store, Label("ada", "harmful", prompt_id("a hit")))


def a_pair_is_found(store: Store, run: RunBuilder) -> None:
    pair = boundary.Pair(
        refused_prompt_id=prompt_id("a hit"),
        answered_prompt_id=prompt_id("answered"),
        edit=(),
        source="lineage",
        n_words=1,
        cosine=0.9,
        refused_rate=0.9,
        refused_n=2,
        answered_rate=0.1,
        answered_n=2,
        clear=True,
        target_tokens=0,
    )
    boundary.put_pairs(store, run.run_id, run.target_id, [pair])


def samples_are_forgotten(store: Store, run: RunBuilder) -> None:
    vacuum(store, Keep.of("over-refusals"))


@pytest.mark.parametrize(
    "happens", [a_person_disagrees, a_person_thinks_again, a_pair_is_found, samples_are_forgotten]
)
def test_what_changes_a_run_afterwards_changes_its_summary(
    store: Store, ended: RunBuilder, happens: Callable[[Store, RunBuilder], None]
) -> None:
    summaries.keep(store)
    before = queries.run_summary(store, "ended")
    happens(store, ended)
    after = queries.run_summary(store, "ended")
    assert rounded(after) == rounded(reckoned(store, ended))
    if happens is not a_person_thinks_again:
        assert after != before


def test_a_run_that_goes_on_is_reckoned_from_its_rows(store: Store) -> None:
    run = RunBuilder(store, "stopped")
    seed = run.seed("a seed", refusals=(0.1, 0.2))
    store.end_run(run.run_id, "interrupted", "ctrl-c", wall_s=1.0)
    summaries.keep(store)
    assert queries.run_summary(store, "stopped")["over_refusals"] == 0
    store.claim_run("stopped")
    run.evaluated("a hit", (seed,), refusals=(1.0, 0.9))
    assert queries.run_summary(store, "stopped")["over_refusals"] == 1
    run.finish()
    assert queries.run_summary(store, "stopped")["over_refusals"] == 1
