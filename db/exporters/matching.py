"""Which rows of the record an export asks for, as SQL: a prefilter by indexed columns, in order.

Knows tables and filters. It decides nothing about safety: `db.exporters.eligible` asks the decisions of
every row that comes out of here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    String,
    Text,
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
from db.models import Evaluation, GateDecision, Lineage, Prompt
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
    is_narrow: bool  # some filter has an index that leads to few rows
    by_text: bool  # a filter asks the text, of which a proposal may have its own spelling

    @property
    def is_whole(self) -> bool:
        """Whether most rows of the database are asked for."""
        return not (self.is_limited or self.is_narrow)

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
            asked,
            select(
                func.count(),
                number(~considered),
                number(and_(considered, ~_HARMLESS)),
                number(and_(harmless, ~asked.refused)),
                func.max(case((harmless, E.refusal_rate))),
            ),
        ).where(*asked.where)
    ).one()
    return Counts(row[0], int(row[1]), int(row[2]), int(row[3]), row[4])


def count_prompts(connection: Connection, asked: Asked) -> int:
    """Prompts that pass the prefilter, each once."""
    statement = _joined(asked, select(func.count(E.prompt_id.distinct()))).where(*asked.passing)
    return connection.scalar(statement) or 0


def embedder(connection: Connection, asked: Asked) -> str | None:
    """The embedder that most of the rows name."""
    statement = (
        _joined(asked, select(P.embedder))
        .where(*asked.passing, P.embedder.is_not(None))
        .group_by(P.embedder)
        .order_by(func.count().desc(), P.embedder)
        .limit(1)
    )
    found: str | None = connection.scalar(statement)
    return found


class Matching(NamedTuple):
    """Rows that pass the prefilter, as columns; a row has its values in this order."""

    prompt_id: Any
    run_id: Any
    gates: Any
    decisions: Any  # all of the prompt, JSON: [[gate, version, outcome], ...], in no order
    is_repeated: Any  # whether another evaluation is of the same prompt
    text: Any
    target_id: Any
    topic: Any
    strategy: Any
    operator: Any
    seed_prompt_id: Any
    embedder: Any
    judges: Any
    fitness: Any
    refusal_rate: Any
    refusal_low: Any
    refusal_high: Any
    n_samples: Any
    parents: Any


N_KEYS = 5  # of what comes first, and decides who leaves


@contextlib.contextmanager
def rows(connection: Connection, asked: Asked) -> Iterator[CursorResult[Any]]:
    """The rows that pass the prefilter, in the order that was asked for; the same prompt may come
    several times, and `is_repeated` says so. To be read with `fetchmany`."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{_CACHE_KIB}")
    text: Any = SPELLING
    if not asked.by_text:  # looked up where it is needed, which is seldom
        first = select(Prompt.text).where(Prompt.prompt_id == E.prompt_id).scalar_subquery()
        text = func.coalesce(P.text, first)
    columns = Matching(
        prompt_id=E.prompt_id,
        run_id=E.run_id,
        gates=P.gates,
        decisions=_decisions(connection),
        is_repeated=_is_repeated(asked),
        text=text,
        target_id=E.target_id,
        topic=P.topic,
        strategy=E.strategy,
        operator=P.operator,
        seed_prompt_id=P.seed_prompt_id,
        embedder=P.embedder,
        judges=E.judges,
        fitness=E.fitness,
        refusal_rate=E.refusal_rate,
        refusal_low=E.refusal_low,
        refusal_high=E.refusal_high,
        n_samples=E.n_samples,
        parents=parents(E.run_id, E.proposal_index),
    )
    labelled = [column.label(name) for name, column in columns._asdict().items()]
    statement = _joined(asked, select(*labelled))
    if asked.is_whole:
        # In the order in which rows lie, not in that of an index, which is another one.
        statement = statement.with_hint(E, "NOT INDEXED", "sqlite")
    ordered = statement.where(*asked.passing).order_by(
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


def _is_repeated(asked: Asked) -> ColumnElement[bool]:
    """Whether there is another evaluation of the prompt."""
    other = aliased(Evaluation)
    if (
        asked.is_whole
    ):  # once for all, by an index alone: each by itself would cost what its row costs
        several = select(other.prompt_id).group_by(other.prompt_id).having(func.count() > 1)
        return E.prompt_id.in_(several)
    differs = or_(
        other.run_id != E.run_id,
        other.proposal_index != E.proposal_index,
        other.target_id != E.target_id,
    )
    return exists().where(other.prompt_id == E.prompt_id, differs)


def _decisions(connection: Connection) -> Any:
    """What every gate in every version, and every person, said of a prompt."""
    said = (GateDecision.gate, GateDecision.version, GateDecision.outcome)
    if connection.dialect.name == "sqlite":
        listed: Any = func.json_group_array(func.json_array(*said))
    else:
        listed = cast(func.json_agg(func.json_build_array(*said)), Text)
    return select(listed).where(GateDecision.prompt_id == E.prompt_id).scalar_subquery()


def parents(run_id: Any, proposal_index: Any) -> Any:
    """`position:prompt_id` of each parent of a proposal, in no order, with spaces between."""
    named = cast(Lineage.position, String) + ":" + Lineage.parent_prompt_id
    return (
        select(func.aggregate_strings(named, " "))
        .where(Lineage.run_id == run_id, Lineage.proposal_index == proposal_index)
        .scalar_subquery()
    )


def _joined(asked: Asked, statement: Any) -> Any:
    of_proposal = and_(
        P.run_id == E.run_id,
        P.proposal_index == E.proposal_index,
    )
    joined = statement.select_from(E).join(P, of_proposal).join(R, R.run_id == E.run_id)
    return joined.join(T, T.prompt_id == E.prompt_id) if asked.by_text else joined


def _order(connection: Connection, asked: Asked) -> list[Any]:
    by = E.refusal_rate if asked.sort == "refusal" else E.fitness
    # Without a limit sorting is cheaper than an index: rows are then read in the order in which they
    # lie, and an expression has no index.
    return [by.desc() if asked.is_limited else (by + 0.0).desc()]
