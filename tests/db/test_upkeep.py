"""Keeping a database sound and small, on both databases."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, text, update

import db
from db import near, upkeep
from db.models import BoundaryPair, Evaluation, Sample, Verdict, utc_now
from db.retention import Keep
from db.store import Store
from evo.types import Candidate
from tests.db.builders import RunBuilder
from workers.interface import ConfigError, StoreError

ALL, REST_ON = Keep.of("all"), Keep.of("over-refusals")
ANSWERED, REFUSED = (0.1, 0.1), (0.9, 0.9)


def sampled(store: Store) -> set[str]:
    with store.reading() as connection:
        return set(connection.scalars(select(Sample.prompt_id)))


def finished(store: Store, name: str = "run", **texts: tuple[float, ...]) -> dict[str, Candidate]:
    run = RunBuilder(store, name)
    made = {text: run.seed(text, refusals=refusals) for text, refusals in texts.items()}
    run.finish()
    return made


def test_a_sound_database_has_no_problems_and_counts_its_rows(store: Store) -> None:
    finished(store, a=REFUSED, b=ANSWERED)
    report = upkeep.check(store)
    assert report["problems"] == []
    rows = {row["table"]: row["rows"] for row in report["tables"]}
    assert (rows["prompts"], rows["samples"], rows["verdicts"]) == (2, 4, 4)
    sizes = {row["table"]: row["bytes"] for row in report["tables"]}
    assert sizes["samples"] > 4 * len("Sure: press Ctrl-C")
    assert sum(sizes.values()) <= report["bytes"]


def test_what_no_foreign_key_watches_is_found(store: Store) -> None:
    finished(store, a=REFUSED)
    with store.writing() as connection:
        connection.execute(text("UPDATE proposals SET seed_prompt_id = 'nobody'"))
        connection.execute(text("DELETE FROM embedders"))
        connection.execute(text("DELETE FROM prompt_text"))
    assert [line.split(":")[0] for line in upkeep.check(store)["problems"]] == [
        "proposals", "embeddings", "prompts",
    ]  # fmt: skip


def test_nothing_is_forgotten_unless_it_is_asked_for(store: Store) -> None:
    finished(store, a=REFUSED, b=ANSWERED)
    assert upkeep.vacuum(store).forgotten == 0
    assert upkeep.vacuum(store, ALL).forgotten == 0
    assert len(sampled(store)) == 2


def test_what_an_over_refusal_a_pair_or_a_label_rests_on_stays(store: Store) -> None:
    run = RunBuilder(store)
    made = {
        text: run.seed(text, refusals=refusals)
        for text, refusals in {
            "over": REFUSED, "refused": ANSWERED, "answered": ANSWERED,
            "labelled": ANSWERED, "judged": ANSWERED, "plain": ANSWERED,
        }.items()
    }  # fmt: skip
    pair = BoundaryPair(
        target_id=run.target_id, run_id=run.run_id, edit="[]", source="span", n_words=1, cosine=0.9,
        refused_prompt_id=made["refused"].prompt_id, answered_prompt_id=made["answered"].prompt_id,
        refused_rate=0.4, refused_n=2, answered_rate=0.1, answered_n=2, clear=False, target_tokens=0,
        created_at=utc_now(),
    )  # fmt: skip
    columns = {c.key: getattr(pair, c.key) for c in BoundaryPair.__table__.columns}
    with store.writing() as connection:
        connection.execute(BoundaryPair.__table__.insert(), [columns])
        for name, table in (("labelled", "gate_decisions"), ("judged", "verdicts")):
            column = "gate" if table == "gate_decisions" else "judge"
            connection.execute(
                text(f"UPDATE {table} SET {column} = 'human:anna' WHERE prompt_id = :p"),
                {"p": made[name].prompt_id},
            )
    run.finish()
    assert upkeep.vacuum(store, REST_ON).forgotten == 2
    assert sampled(store) == {m.prompt_id for name, m in made.items() if name != "plain"}
    assert upkeep.check(store)["problems"] == []
    with store.reading() as connection:
        assert len(connection.execute(select(Evaluation.prompt_id)).all()) == 6


def test_answers_to_a_prompt_that_another_target_refuses_stay(store: Store) -> None:
    finished(store, "first", a=REFUSED)
    other = RunBuilder(store, "second", system_prompt="Be kind.")
    other.seed("a", refusals=ANSWERED)
    other.finish()
    assert upkeep.vacuum(store, REST_ON).forgotten == 0


def test_what_an_unfinished_run_has_used_stays(store: Store) -> None:
    finished(store, "first", a=ANSWERED)
    run = RunBuilder(store, "second")
    run.seed("a", refusals=ANSWERED)
    assert upkeep.vacuum(store, REST_ON).forgotten == 0
    run.finish()
    assert upkeep.vacuum(store, REST_ON).forgotten == 2


def test_samples_are_kept_for_so_many_days_all_of_a_prompt_or_none(store: Store) -> None:
    made = finished(store, old=ANSWERED, half=ANSWERED, new=ANSWERED)
    long_ago = utc_now() - timedelta(days=31)
    with store.writing() as connection:
        old = Sample.prompt_id == made["old"].prompt_id
        first = (Sample.prompt_id == made["half"].prompt_id) & (Sample.sample_index == 0)
        connection.execute(update(Sample).where(old | first).values(created_at=long_ago))
    assert upkeep.vacuum(store, Keep.of("40 days")).forgotten == 0
    assert upkeep.vacuum(store, Keep.of("30 days")).forgotten == 2
    assert sampled(store) == {made["half"].prompt_id, made["new"].prompt_id}


def test_each_run_says_itself_what_is_kept(store: Store) -> None:
    made = {name: finished(store, name, **{name: ANSWERED}) for name in ("one", "two")}
    with store.writing() as connection:
        connection.execute(
            text(
                "UPDATE runs SET config = replace(config, '{\"search\"', :keep) WHERE name = 'one'"
            ),
            {"keep": '{"keep": {"samples": "over-refusals"}, "search"'},
        )
    assert upkeep.vacuum(store).forgotten == 2
    assert sampled(store) == {made["two"]["two"].prompt_id}
    with store.reading() as connection:
        assert len(connection.execute(select(Verdict.prompt_id)).all()) == 2


def test_vacuum_gives_space_back_and_keeps_nearness_right(tmp_path: Path) -> None:
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/a.db")) as store:
        run = RunBuilder(store)
        for n in range(300):
            run.seed(f"prompt {n}", responses=["long " * 400, "long " * 400], refusals=ANSWERED)
        run.finish()
        done = upkeep.vacuum(store, REST_ON)
        assert done.forgotten == 600
        assert done.after < done.before / 2
        vector = np.zeros(64, dtype=np.float32)
        vector[0] = 1.0
        assert len(near.nearest(store, vector, "e", 5)) == 5


def test_vacuum_says_that_the_disk_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/a.db")) as store:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
        with pytest.raises(StoreError, match="as much free space as it is large"):
            upkeep.vacuum(store)


def test_vacuum_says_that_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection._BUSY_TIMEOUT_MS", 50)
    url = f"sqlite:///{tmp_path}/a.db"
    with (
        contextlib.closing(db.open(url)) as store,
        contextlib.closing(db.open(url)) as other,
        other.writing(),
        pytest.raises(StoreError, match="another process holds it"),
    ):
        upkeep.vacuum(store)


@pytest.mark.parametrize("said", ["", "none", "days", "-1 days", "1.5 days"])
def test_what_is_no_rule_is_an_error(said: str) -> None:
    with pytest.raises(ConfigError, match="write all, over-refusals or a time"):
        Keep.of(said)
