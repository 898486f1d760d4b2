"""The nearest prompts, on both databases; against the cosine of every stored vector."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sqlalchemy import func, insert, select, text

import db
from db import near
from db.models import Base, Embedding, Prompt
from db.near import postgres, sidecar, sqlite
from db.near.signs import distances, shortlist, signs
from db.near.written import write_embeddings
from db.store import Store
from tests.db.builders import RunBuilder
from workers.interface import ConfigError

DIM = 16
Vectors = NDArray[np.float32]


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_LOOSE", 100)
    monkeypatch.setattr(sqlite, "_CANDIDATES", 500)
    monkeypatch.setattr(sqlite, "_BATCH", 64)
    monkeypatch.setattr(postgres, "INDEX_FROM", 500)
    monkeypatch.setattr(postgres, "_BATCH", 64)


def vectors(n: int, seed: int = 0, dim: int = DIM) -> Vectors:
    """Unit vectors in loose heaps."""
    rng = np.random.default_rng(seed)
    heaps = rng.normal(size=(20, dim))[rng.integers(0, 20, n)]
    drawn = heaps + 0.5 * rng.normal(size=(n, dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def put(store: Store, rows: Vectors, embedder: str = "e", prefix: str = "p") -> dict[str, Vectors]:
    named = {f"{prefix}{place:05d}": row for place, row in enumerate(rows)}
    with store.writing() as connection:
        connection.execute(insert(Prompt), [{"prompt_id": p, "text": p} for p in named])
        write_embeddings(
            connection,
            [
                {"prompt_id": p, "embedder": embedder, "dim": len(v), "vector": v.tobytes()}
                for p, v in named.items()
            ],
        )
    return named


def truth(named: dict[str, Vectors], asked: Vectors, k: int) -> list[str]:
    return sorted(named, key=lambda p: (-float(named[p] @ asked), p))[:k]


def test_a_few_vectors_are_compared_exactly(store: Store) -> None:
    named = put(store, vectors(60))
    asked = vectors(1, seed=5)[0]
    found = near.nearest(store, 3 * asked, "e", 7)
    assert [p for p, _ in found] == truth(named, asked, 7)
    assert [c for _, c in found] == pytest.approx(
        [float(named[p] @ asked) for p, _ in found], abs=1e-5
    )


def test_of_many_vectors_nearly_all_of_the_nearest_are_found(store: Store) -> None:
    named = put(store, vectors(1500))
    if store.engine.dialect.name == "postgresql":
        with store.writing() as connection:
            assert postgres.tend(connection) == ["index of 1500 vectors by e"]
    hits = 0
    for asked in vectors(20, seed=9):
        found = near.nearest(store, asked, "e", 10)
        assert len(found) == 10
        hits += len({p for p, _ in found} & set(truth(named, asked, 10)))
    assert hits >= 190


def test_vectors_stored_after_the_index_was_made_are_found_too(store: Store) -> None:
    named = put(store, vectors(600))
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":
            postgres.tend(connection)
    near.nearest(store, vectors(1)[0], "e", 1)
    for seed in (1, 2, 3):  # a few, then so many that SQLite's sidecar is extended
        named |= put(store, vectors(70, seed), prefix=f"q{seed}")
        wanted = next(reversed(named))
        assert near.nearest(store, named[wanted], "e", 1)[0][0] == wanted


def test_asking_for_more_than_there_are_gives_all(store: Store) -> None:
    named = put(store, vectors(600))
    assert {p for p, _ in near.nearest(store, vectors(1)[0], "e", 1000)} == set(named)


def test_vectors_of_several_models_and_sizes_live_side_by_side(store: Store) -> None:
    first = put(store, vectors(700), "e", "p")
    second = put(store, vectors(700, 1, 24), "f", "q")
    assert near.embedders(store) == {"e": DIM, "f": 24}
    if store.engine.dialect.name == "postgresql":
        with store.writing() as connection:
            assert len(postgres.tend(connection)) == 2
            assert postgres.tend(connection) == []
    for named, embedder in ((first, "e"), (second, "f"), (first, "e")):
        wanted = next(iter(named))
        assert near.nearest(store, named[wanted], embedder, 1)[0][0] == wanted


def test_an_embedding_of_another_model_is_told_which_are_stored(store: Store) -> None:
    with pytest.raises(ConfigError, match="no prompt is embedded yet"):
        near.sole_embedder(store)
    put(store, vectors(3))
    assert near.sole_embedder(store) == near.sole_embedder(store, "e") == "e"
    with pytest.raises(ConfigError, match=r"embedder 'other': .* are embedded by e; vectors of"):
        near.nearest(store, vectors(1)[0], "other", 1)
    with pytest.raises(ConfigError, match="have 16 numbers"):
        near.nearest(store, vectors(1, dim=24)[0], "e", 1)
    put(store, vectors(3, dim=24), "f", "q")
    with pytest.raises(ConfigError, match="embedded by e, f; choose one with --embedder"):
        near.sole_embedder(store)


def test_what_a_run_records_can_be_found(store: Store) -> None:
    run = RunBuilder(store)
    vector = [0.0] * DIM
    vector[3] = 1.0
    made = run.seed("how do I kill a python process", vector=vector)
    found = near.nearest(store, np.asarray(vector, dtype=np.float32), "e", 1)
    assert found == [(made.prompt_id, pytest.approx(1.0))]
    assert near.embedders(store) == {"e": DIM}


def test_a_sidecar_is_used_again_and_rebuilt_when_the_rows_are_others(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with contextlib.closing(db.open(f"sqlite:///{file}")) as store:
        named = put(store, vectors(600))
        near.nearest(store, vectors(1)[0], "e", 1)
        (made,) = sidecar.all_of(file)
        before = made.stat()
        near.nearest(store, vectors(1)[0], "e", 1)
        assert made.stat().st_ino == before.st_ino
        # Deleted rows and VACUUM: the others move up.
        with store.writing() as connection:
            connection.execute(Embedding.__table__.delete().where(Embedding.prompt_id < "p00300"))
        with store.engine.connect() as connection:
            connection.connection.driver_connection.execute("VACUUM")  # type: ignore[union-attr]
        wanted = "p00450"
        assert near.nearest(store, named[wanted], "e", 1)[0][0] == wanted
        assert made.stat().st_ino != before.st_ino


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 5000])
def test_a_damaged_sidecar_is_replaced(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "a.db"
    with contextlib.closing(db.open(f"sqlite:///{file}")) as store:
        named = put(store, vectors(600))
        path = sidecar.place(file, "e")
        path.write_bytes(damage)
        assert near.nearest(store, named["p00007"], "e", 1)[0][0] == "p00007"
        assert path.stat().st_size == 4096 + 600 * 16


def test_where_no_file_can_be_written_the_answer_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "a.db"
    with contextlib.closing(db.open(f"sqlite:///{file}")) as store:
        named = put(store, vectors(600))
        monkeypatch.setattr(sidecar.os, "replace", full)
        assert near.nearest(store, named["p00007"], "e", 1)[0][0] == "p00007"
    assert [p.name for p in tmp_path.glob("*near*")] == []


def test_without_pgvector_every_vector_is_compared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_create", lambda _: False)
    with contextlib.closing(db.open(request.getfixturevalue("postgres"))) as store:
        with store.writing() as connection:
            connection.execute(text("DROP TABLE IF EXISTS near_vectors"))
        named = put(store, vectors(300))
        asked = vectors(1, seed=5)[0]
        assert [p for p, _ in near.nearest(store, asked, "e", 7)] == truth(named, asked, 7)
        # It is turned on later.
        monkeypatch.undo()
        with store.writing() as connection:
            assert postgres.tend(connection) == ["300 vectors copied for pgvector"]
            copied = connection.scalar(text("SELECT count(*) FROM near_vectors"))
            assert copied == connection.scalar(select(func.count()).select_from(Embedding)) == 300
            connection.execute(text("DROP TABLE near_vectors"))
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 130)),
        elements=st.floats(-1, 1, width=32),
    ),
)
def test_the_distance_of_two_codes_counts_the_signs_that_differ(drawn: Vectors) -> None:
    codes = signs(drawn)
    counted = ((drawn > 0) != (drawn[0] > 0)).sum(axis=1)
    assert distances(codes, codes[:, 0]).tolist() == counted.tolist()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 70))
def test_a_shortlist_has_the_smallest_and_their_equals(drawn: list[int], size: int) -> None:
    places = shortlist(np.array(drawn, dtype=np.uint16), size).tolist()
    bound = sorted(drawn)[min(size, len(drawn)) - 1]
    assert places == [place for place, value in enumerate(drawn) if value <= bound]
