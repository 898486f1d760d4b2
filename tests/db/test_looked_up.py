"""What pages ask for is looked up: no statement of theirs reads a whole table of samples or verdicts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

import db
from db import labels
from db.about_prompt import about_prompt
from db.store import Store
from fitness.types import Safety
from tests.db.builders import RunBuilder

LARGE = ("samples", "verdicts", "gate_decisions", "evaluations", "proposals", "embeddings")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, prompt: about_prompt(store, prompt),
        lambda store, prompt: labels.by(store, "anna"),
        lambda store, prompt: labels.given(store),
        lambda store, prompt: labels.put(
            store, [labels.Label("bert", Safety.HARMLESS.value, prompt)]
        ),
    ],
    ids=["a prompt", "what a person labelled", "all labels", "a new label"],
)
def test_no_large_table_is_read_whole(tmp_path: Path, ask: Callable[[Store, str], Any]) -> None:
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/plan.db")) as store:
        run = RunBuilder(store, "first")
        prompt = run.evaluated("refused", (), refusals=(1.0, 0.9)).prompt_id
        run.finish()
        asked: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, values: Any, ___: Any, many: bool) -> None:
            if statement.startswith("SELECT"):
                asked.append((statement, values))

        event.listen(store.engine, "before_cursor_execute", note)
        ask(store, prompt)
        event.remove(store.engine, "before_cursor_execute", note)
        assert asked
        with store.reading() as connection:
            for statement, values in asked:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                read = [row[-1] for row in plan]
                # A scan of the index of people reads nothing else.
                whole = [
                    line
                    for line in read
                    for table in LARGE
                    if line.startswith(f"SCAN {table}") and "_people" not in line
                ]
                assert not whole, (statement, read)
