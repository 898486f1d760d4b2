"""Which rows of the record an export asks for, as SQL: a prefilter by indexed columns, in order.

Knows tables and filters. It decides nothing about safety: `db.exporters.eligible` asks the decisions of
every row that comes out of here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    String,
    and_,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from db import filters, like
from db.filters import SPELLING, E, P, R, T
from db.models import Evaluation, Lineage
from evo.types import Strategy
from fitness.types import Safety

# SQLite's pages in memory: rows are read in order of fitness, and lie all over the file.
_CACHE_KIB = 256 * 1024
_FETCHED = 10_000
_HARMLESS = E.safety == Safety.HARMLESS.value
_SEED = E.strategy == Strategy.SEED.value


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options ask for."""

    where: list[ColumnElement[bool]]
    min_refusal: float | None
    sort: str
    seeds: bool
    is_limited: bool

    @property
    def refused(self) -> ColumnElement[bool]:
        """Often enough: `min_refusal`, by default the threshold of the run."""
        bound: Any = R.threshold if self.min_refusal is None else self.min_refusal
        # Not as a plain comparison: SQLite would look up every prompt by an index of refusal rates.
        refused: ColumnElement[bool] = E.refusal_rate - bound >= 0
        return refused

    @property
    def passing(self) -> list[ColumnElement[bool]]:
        kept = [*self.where, _HARMLESS, self.refused]
        return kept if self.seeds else [*kept, ~_SEED]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many evaluated prompts the filters let through, and what became of them."""

    matched: int
    seeds: int
    not_harmless: int
    below: int  # refused too seldom
    highest: float | None  # refusal rate among the harmless ones


def conditions(connection: Connection, options: filters.Asked) -> list[ColumnElement[bool]]:
    """The filters of `evocliff query`.

    Raises:
        ConfigError: unknown names.
    """
    where = filters.conditions(connection.dialect.name, filters.resolve(connection, options))
    if options.like is not None:
        spelled = like.spelled(connection.dialect.name, options.like)
        if spelled is not None:  # narrows down by an index; the text itself is asked above
            where.append(E.prompt_id.in_(spelled))
    return where


def count(connection: Connection, asked: Asked) -> Counts:
    considered = true() if asked.seeds else ~_SEED
    harmless = and_(considered, _HARMLESS)

    def number(condition: Any) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    row = connection.execute(
        _joined(
            select(
                func.count(),
                number(~considered),
                number(and_(considered, ~_HARMLESS)),
                number(and_(harmless, ~asked.refused)),
                func.max(case((harmless, E.refusal_rate))),
            )
        ).where(*asked.where)
    ).one()
    return Counts(row[0], int(row[1]), int(row[2]), int(row[3]), row[4])


def count_prompts(connection: Connection, asked: Asked) -> int:
    """Prompts that pass the prefilter, each once."""
    statement = _joined(select(func.count(E.prompt_id.distinct()))).where(*asked.passing)
    return connection.scalar(statement) or 0


def embedder(connection: Connection, asked: Asked) -> str | None:
    """The embedder that most of the rows name."""
    statement = (
        _joined(select(P.embedder))
        .where(*asked.passing, P.embedder.is_not(None))
        .group_by(P.embedder)
        .order_by(func.count().desc(), P.embedder)
        .limit(1)
    )
    found: str | None = connection.scalar(statement)
    return found


@contextlib.contextmanager
def rows(connection: Connection, asked: Asked) -> Iterator[CursorResult[Any]]:
    """The rows that pass the prefilter, in the order that was asked for; the same prompt may come
    several times, and `is_repeated` says so. To be read with `fetchmany`."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{_CACHE_KIB}")
    other = aliased(Evaluation)
    statement = _joined(
        select(
            E.prompt_id,
            SPELLING.label("text"),
            E.run_id,
            E.target_id,
            P.topic,
            E.strategy,
            P.operator,
            P.seed_prompt_id,
            P.gates,
            P.embedder,
            E.judges,
            E.fitness,
            E.refusal_rate,
            E.refusal_low,
            E.refusal_high,
            E.n_samples,
            parents(E.run_id, E.proposal_index).label("parents"),
            exists()
            .where(
                other.prompt_id == E.prompt_id,
                other.is_superseded.is_(False),
                or_(
                    other.run_id != E.run_id,
                    other.proposal_index != E.proposal_index,
                    other.target_id != E.target_id,
                ),
            )
            .label("is_repeated"),
        )
    ).where(*asked.passing)
    ordered = statement.order_by(
        *_order(connection, asked),
        E.prompt_id,
        R.started_at,
        R.run_id,
        E.target_id,
    )
    result = connection.execute(ordered, execution_options={"yield_per": _FETCHED})
    try:
        yield result
    finally:
        result.close()


def parents(run_id: Any, proposal_index: Any) -> Any:
    """`position:prompt_id` of each parent of a proposal, in no order, with spaces between."""
    named = cast(Lineage.position, String) + ":" + Lineage.parent_prompt_id
    return (
        select(func.aggregate_strings(named, " "))
        .where(Lineage.run_id == run_id, Lineage.proposal_index == proposal_index)
        .scalar_subquery()
    )


def _joined(statement: Any) -> Any:
    of_proposal = and_(
        P.run_id == E.run_id,
        P.proposal_index == E.proposal_index,
    )
    return (
        statement.select_from(E)
        .join(P, of_proposal)
        .join(R, R.run_id == E.run_id)
        .join(T, T.prompt_id == E.prompt_id)
    )


def _order(connection: Connection, asked: Asked) -> list[Any]:
    by = E.refusal_rate if asked.sort == "refusal" else E.fitness
    # Without a limit sorting is cheaper than an index: rows are then read in the order in which they
    # lie, and an expression has no index.
    return [by.desc() if asked.is_limited else (by + 0.0).desc()]
