"""How a query is carried out: which index it goes by, so that what is asked for first comes first.

A filter that few rows pass is followed, and its rows are sorted; else the index in the order that was
asked for is walked until enough rows have passed. SQLite is told the index by name, for it may have no
statistics; PostgreSQL has them and finds its own way. Knows indexes; knows nothing of rows for people.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select, func, literal_column, null, select

from db import like
from db.among import among
from db.filters import NOT_HARMLESS, SPELLING, E, Filters, M, P, R, conditions, turned_away
from db.models import BoundaryPair, Cliff, Disagreement, Evaluation, Signature
from fitness.types import Safety

# Rows that are sorted rather than come in order: about as many as a walk would look at for the same.
FEW = 3_000
_BATCH = 500
# For each row that is wanted so many of the top are looked at, then so many times more.
_FIRST = 4
# Rows that come as they are read, however many they are.
STREAMED = {"stream_results": True, "yield_per": _BATCH}
_BY = {"fitness": E.fitness, "refusal": E.refusal_rate}


@dataclass(frozen=True, slots=True)
class _Way:
    """To the rows: an index by its name, and what it is entered with."""

    index: str
    where: tuple[Any, ...] = ()
    ids: Sequence[str] | None = None  # of prompts, where it is entered with these


def evaluated(
    connection: Connection,
    asked: Filters,
    sort: str,
    limit: int | None,
    ids: Sequence[str] | None = None,
) -> Iterator[Row[Any]]:
    """Rows that were evaluated, largest first, ties by prompt, age of the run and target.

    Args:
        sort: "fitness" or "refusal".  limit: no more rows than these.
        ids: of these prompts alone, at most `FEW`.
    """
    ways = _ways(connection, asked, sort, ids)
    if limit is not None and len(ways) == 1 and ways[0].ids is not None:
        return islice(_from_the_top(connection, asked, sort, limit, ways[0].ids), limit)
    streams = [
        _run(connection, _statement(connection, asked, sort, way).limit(limit), limit)
        for way in ways
    ]
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_place)


def _from_the_top(
    connection: Connection, asked: Filters, sort: str, limit: int, ids: Sequence[str]
) -> Iterator[Row[Any]]:
    """The same of these prompts: where all are sorted first, and texts and names are looked up for those
    on top alone, until enough of them have passed."""
    by, way = _BY[sort], _of_prompts(connection, ids)
    but_text = conditions(connection.dialect.name, replace(asked, like=None))
    columns: list[Any] = [by.label("value"), E.prompt_id]
    # `+ 0`, or PostgreSQL may walk all evaluations in this order to look for them.
    sorted_rows = (
        select(*columns)
        .with_hint(E, f"INDEXED BY {way.index}", "sqlite")
        .where(*way.where, *but_text)
        .order_by((by + 0).desc())
    )

    def looked_up(some: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        mine = _of_prompts(connection, list(dict.fromkeys(row.prompt_id for row in some)))
        between = (by >= some[-1].value, by <= some[0].value)
        return connection.execute(_statement(connection, asked, sort, mine).where(*between)).all()

    start, size = 0, _FIRST * limit
    # Mostly the top is enough.
    every: Sequence[Row[Any]] = connection.execute(sorted_rows.limit(size + 1)).all()
    if len(every) > size:
        if every[-2].value != every[-1].value:
            yield from looked_up(every[:-1])
            start, size = size, size * _FIRST
        every = connection.execute(sorted_rows).all()
    while start < len(every):
        end = min(start + size, len(every))
        while end < len(every) and every[end].value == every[end - 1].value:  # equals stay together
            end += 1
        yield from looked_up(every[start:end])
        start, size = end, size * _FIRST


def _place(row: Row[Any]) -> tuple[Any, ...]:
    return -row.sorted_by, row.prompt_id, row.started_at, row.run_id, row.target_id


def never_sampled(
    connection: Connection, asked: Filters, limit: int | None, ids: Sequence[str] | None = None
) -> Iterator[Row[Any]]:
    """Rows of prompts that a gate turned away, by prompt and age of the run."""
    if not asked.turned_away:
        return iter(())
    if ids is None and asked.like is not None:
        ids = like.prompt_ids(connection, asked.like, FEW)
    if ids is not None and not ids:
        return iter(())
    statement = (
        select(*_columns(of_evaluation=False))
        .select_from(P)
        .join(R, R.run_id == P.run_id, isouter=True)
        .join(M, M.target_id == R.target_id, isouter=True)
        .where(turned_away(connection.dialect.name, asked))
        .order_by(P.prompt_id, R.started_at, P.run_id, P.proposal_index)
        .limit(limit)
    )
    if ids is not None:
        statement = statement.where(among(connection, P.prompt_id, ids))
    return _run(connection, statement, limit)


def count(connection: Connection, asked: Filters, at_most: int) -> int:
    """How many rows there are; `at_most` if they are more."""
    way = _ways(connection, asked, "fitness", None)
    found = 0
    for each in way:
        rows = _statement(connection, asked, "fitness", each).order_by(None).limit(at_most)
        found += connection.scalar(select(func.count()).select_from(rows.subquery())) or 0
    if found < at_most:
        found += sum(1 for _ in never_sampled(connection, asked, at_most - found))
    return min(found, at_most)


def _run(connection: Connection, statement: Select[Any], limit: int | None) -> Iterator[Row[Any]]:
    if limit is not None and limit <= _BATCH:
        return iter(connection.execute(statement).all())
    return iter(connection.execute(statement.execution_options(**STREAMED)))


def _statement(connection: Connection, asked: Filters, sort: str, way: _Way) -> Select[Any]:
    by = _BY[sort]
    # What is looked up by a key is joined from the left: the order of the joins is the one written.
    return (
        select(*_columns(of_evaluation=True), by.label("sorted_by"))
        .select_from(E)
        .join(P, (P.run_id == E.run_id) & (P.proposal_index == E.proposal_index), isouter=True)
        .join(R, R.run_id == E.run_id, isouter=True)
        .join(M, M.target_id == E.target_id, isouter=True)
        .with_hint(E, f"INDEXED BY {way.index}", "sqlite")
        .where(*way.where, *conditions(connection.dialect.name, asked))
        .order_by(by.desc(), E.prompt_id, R.started_at, E.run_id, E.target_id, E.proposal_index)
    )


_SCORED = ("refusal_rate", "refusal_low", "refusal_high", "fitness", "confidence", "n_samples")


def _columns(*, of_evaluation: bool) -> list[Any]:
    score = [getattr(E, name) if of_evaluation else null().label(name) for name in _SCORED]
    return [
        P.run_id if not of_evaluation else E.run_id,
        P.proposal_index if not of_evaluation else E.proposal_index,
        P.prompt_id if not of_evaluation else E.prompt_id,
        (E.target_id if of_evaluation else R.target_id).label("target_id"),
        P.strategy,
        P.operator,
        P.topic,
        P.seed_prompt_id,
        P.safety,
        P.embedder,
        SPELLING.label("prompt"),
        M.model,
        R.started_at,
        *score,
    ]


# Which way


def _ways(
    connection: Connection, asked: Filters, sort: str, ids: Sequence[str] | None
) -> list[_Way]:
    if ids is None:
        ids = _few_ids(connection, asked)
    if ids is not None:
        return [_of_prompts(connection, ids)]
    by = _BY[sort].key
    entries: list[list[_Way]] = []
    if asked.strategies is not None:
        each = asked.strategies
        entries.append([_Way(f"ix_evaluations_strategy_{by}", (E.strategy == s,)) for s in each])
    if asked.run_id is not None:
        entries.append([_Way(f"ix_evaluations_run_id_{by}", (E.run_id == asked.run_id,))])
    if asked.target_ids is not None:
        each = asked.target_ids
        entries.append([_Way(f"ix_evaluations_target_id_{by}", (E.target_id == t,)) for t in each])
    narrow = list(entries) if len(entries) > 1 else []
    if asked.run_id is not None and asked.strategies is not None:
        # Within a run its targets come first in this index; there are few of them.
        both = [(E.run_id == asked.run_id, E.strategy == s) for s in asked.strategies]
        narrow.append([_Way("ix_evaluations_tally", each) for each in both])
    if asked.min_refusal is not None:
        least = (E.refusal_rate >= asked.min_refusal,)
        narrow.append([_Way("ix_evaluations_refusal_rate", least)])
    for ways in narrow:
        if sum(_count(connection, way) for way in ways) <= FEW:
            return ways
    return entries[0] if entries else [_Way(f"ix_evaluations_{by}")]


def _of_prompts(connection: Connection, ids: Sequence[str]) -> _Way:
    of_these = (among(connection, E.prompt_id, ids),)
    return _Way("ix_evaluations_prompt_id_target_id", of_these, ids)


def _count(connection: Connection, way: _Way) -> int:
    """Rows that this way leads to; no more than one more than `FEW` are counted."""
    rows: Select[Any] = (
        select(literal_column("1"))
        .select_from(E)
        .with_hint(E, f"INDEXED BY {way.index}", "sqlite")
        .where(*way.where)
        .limit(FEW + 1)
    )
    return connection.scalar(select(func.count()).select_from(rows.subquery())) or 0


def _few_ids(connection: Connection, asked: Filters) -> list[str] | None:
    """The prompts that one of the filters leaves, where they are few."""
    if asked.like is not None:
        ids = like.prompt_ids(connection, asked.like, FEW)
        if ids is not None:
            return ids
    tables: list[Select[Any]] = []
    if asked.safety not in (None, Safety.HARMLESS.value):
        kept = (NOT_HARMLESS, P.safety == asked.safety, P.status == "evaluated")
        tables.append(select(P.prompt_id).where(*kept))
    if asked.disagree:
        tables.append(select(Disagreement.prompt_id))
    if asked.boundary:
        tables.append(select(BoundaryPair.refused_prompt_id))
    if asked.kind is not None:
        tables.append(select(Cliff.prompt_id).where(Cliff.kind == asked.kind))
    if asked.signature is not None:
        tables.append(select(Signature.prompt_id).where(Signature.signature == asked.signature))
    for targets in (*asked.refused_by, *asked.answered_by):
        tables.append(select(Evaluation.prompt_id).where(Evaluation.target_id.in_(targets)))
    for statement in tables:
        found = list(connection.scalars(statement.limit(FEW + 1)))
        if len(found) <= FEW:
            return list(dict.fromkeys(found))
    return None
