"""Columns as Arrow and as JSONL, work behind, and which response is the surest."""

from __future__ import annotations

import threading

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import exporters
from db.exporters import columns
from db.exporters.behind import Behind
from db.exporters.columns import Turns
from db.exporters.formats import MESSAGES
from db.store import Store
from tests.db.builders import REFUSAL, RunBuilder

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\\\n%\u2028'))
ROWS = st.lists(
    st.tuples(
        TEXTS,
        TEXTS | st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(0, 2**31 - 1),
        st.booleans(),
        st.lists(TEXTS, max_size=3).map(tuple),
    ),
    min_size=1,
)


@given(ROWS)
def test_members_of_rows_are_those_that_a_row_by_itself_has(rows: list[tuple[object, ...]]) -> None:
    names = ["text", "a %b", "number", "count", "truth", "list"]
    by_column = dict(zip(names, zip(*rows, strict=True), strict=True))
    alone = [orjson.dumps(dict(zip(names, row, strict=True))) for row in rows]
    assert [b"{%b}" % each for each in columns.members(by_column)] == alone


@given(ROWS)
def test_a_line_is_a_row_for_every_reader(rows: list[tuple[object, ...]]) -> None:
    texts = [row[0] for row in rows]
    made = columns.lines(columns.members({"a": texts}), columns.members({"b": texts}))
    read = [orjson.loads(line) for line in made.decode().splitlines()]
    assert read == [{"a": text, "b": text} for text in texts]


@given(st.lists(st.tuples(TEXTS | st.none(), TEXTS, TEXTS), min_size=1), st.booleans())
def test_turns_are_the_same_in_arrow_and_in_json(
    rows: list[tuple[str | None, str, str]], has_first: bool
) -> None:
    first, asked, said = zip(*rows, strict=True)
    turns = Turns(
        ("role", "content"),
        (("user", asked), ("assistant", said)),
        ("system", first) if has_first else None,
    )
    expected = [
        [{"role": "system", "content": before}] * (has_first and before is not None)
        + [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for before, question, answer in rows
    ]
    assert columns.array(turns, MESSAGES).to_pylist() == expected
    assert turns.values() == expected
    assert turns.json() == [orjson.dumps(each) for each in expected]


def test_one_turn_is_no_list() -> None:
    turns = Turns(("from", "value"), (("gpt", ["a"]),), is_one=True)
    kind = pa.struct([("from", pa.string()), ("value", pa.string())])
    assert (
        columns.array(turns, kind).to_pylist() == turns.values() == [{"from": "gpt", "value": "a"}]
    )


def test_an_error_of_work_behind_is_raised_by_the_next_call() -> None:
    done: list[int] = []
    go = threading.Event()

    def fail() -> None:
        go.wait(10)
        raise OSError(28, "No space left on device")

    behind = Behind()
    behind.do(fail)
    behind.do(done.append, 1)
    go.set()
    with pytest.raises(OSError, match="No space left"):
        behind.do(done.append, 2)
    behind.stop()
    assert done in ([], [1])


@pytest.mark.parametrize("seed", range(5))
def test_the_surest_that_has_words_is_chosen_and_of_two_as_sure_the_first(
    store: Store, seed: int
) -> None:
    """Against the rule written out, over judges that give few different numbers."""
    chance = np.random.default_rng(seed)
    run = RunBuilder(store)
    parent = run.seed("seed", refusals=(0.1,))
    expected = {}
    for number in range(12):
        p = chance.choice([0.0, 0.25, 0.5, 0.75, 1.0], size=6)
        said = ["  " if chance.random() < 0.5 else f"{REFUSAL} {k}" for k in range(6)]
        run.evaluated(f"prompt {number}", (parent,), refusals=p.tolist(), responses=said)
        spoken = [k for k in range(6) if said[k].strip()]
        answers = sorted((p[k], k) for k in spoken if p[k] < 0.5)
        refusals = sorted((-p[k], k) for k in spoken if p[k] >= 0.5)
        expected[f"prompt {number}"] = [each[0][1] for each in (answers, refusals) if each]
    found: dict[str, list[int]] = {prompt: [] for prompt in expected}
    for row in exporters.rows(store, "kto", min_refusal=0.0):
        found[row["prompt"][0]["content"]].append(row["sample"])
    assert found == expected
