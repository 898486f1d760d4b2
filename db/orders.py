"""The orders of a query: by a column of the record, by novelty, by refusal cliff, by nearness.

Each gives the rows of `db.plan` with the value that its order adds, largest first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, select

from db import alike, plan
from db.filters import Filters
from db.models import Cliff
from db.shown import Placed

# Novelty is a matter of all pairs: so many of the fittest rows are compared.
NOVEL_AMONG = 500
_BATCH = 500
# Of the nearest prompts some are filtered out: so many more are asked for at first, and at a time.
_MORE = 4


def by_column(
    connection: Connection, asked: Filters, sort: str, limit: int | None
) -> Iterator[Placed]:
    """By fitness or refusal; what was never sampled comes last."""
    return ((row, None) for row in _all(connection, asked, sort, limit))


def by_novelty(connection: Connection, asked: Filters) -> Iterator[Placed]:
    """The fittest `NOVEL_AMONG` rows by how far they are from each other."""
    rows = list(islice(_all(connection, asked, "fitness", NOVEL_AMONG), NOVEL_AMONG))
    distances = alike.novelty(connection, [(row.prompt_id, row.embedder) for row in rows])
    return iter(_largest_first(rows, distances))


def by_nearness(
    connection: Connection,
    asked: Filters,
    nearest: Callable[[int], Sequence[tuple[str, float]]],
    limit: int | None,
) -> Iterator[Placed]:
    """By cosine; no more than `plan.FEW` prompts are near."""
    k = plan.FEW if limit is None else min(plan.FEW, _MORE * limit)
    while True:
        cosines = dict(nearest(k))
        rows = list(_all(connection, asked, "fitness", None, list(cosines)))
        enough = limit is not None and len(rows) >= limit
        if enough or len(cosines) < k or k == plan.FEW:
            return iter(_largest_first(rows, cosines))
        k = min(plan.FEW, k * _MORE)


def by_cliff(
    connection: Connection, asked: Filters, limit: int | None, *, inverse: bool = False
) -> Iterator[Placed]:
    """By the deepest cliff of the target's samples, or by the highest inverse one (what the score rises
    by: the cliff's negative); rows without any come last, the fittest first."""
    met: set[tuple[str, str]] = set()
    depth = -Cliff.cliff if inverse else Cliff.cliff
    deepest = connection.execute(
        select(Cliff.target_id, Cliff.prompt_id, depth)
        .order_by(Cliff.cliff.asc() if inverse else Cliff.cliff.desc(), Cliff.prompt_id)
        .execution_options(**plan.STREAMED)
    )
    given = 0
    for part in deepest.partitions(_BATCH):
        new: dict[tuple[str, str], float] = {}
        for target, prompt, cliff in part:
            if (target, prompt) not in met:
                new.setdefault((target, prompt), cliff)
        met |= new.keys()
        ids = list(dict.fromkeys(prompt for _, prompt in new))
        rows = _all(connection, asked, "fitness", None, ids)
        here = [(row, new[key]) for row in rows if (key := (row.target_id, row.prompt_id)) in new]
        yield from sorted(here, key=lambda placed: _place(*placed))
        given += len(here)
        if limit is not None and given >= limit:
            return
    rest = (
        row
        for row in _all(connection, asked, "fitness", None)
        if (row.target_id, row.prompt_id) not in met
    )
    wanted = rest if limit is None else islice(rest, limit - given)
    yield from ((row, None) for row in wanted)


def _all(
    connection: Connection,
    asked: Filters,
    sort: str,
    limit: int | None,
    ids: Sequence[str] | None = None,
) -> Iterator[Row[Any]]:
    """Evaluated rows, then those that were never sampled."""
    yield from plan.evaluated(connection, asked, sort, limit, ids)
    yield from plan.never_sampled(connection, asked, limit, ids)


def _largest_first(rows: Iterable[Row[Any]], values: dict[str, float]) -> list[Placed]:
    placed = [(row, values.get(row.prompt_id)) for row in rows]
    return sorted(placed, key=lambda one: _place(*one))


def _place(row: Row[Any], value: float | None) -> tuple[Any, ...]:
    return -(-math.inf if value is None else value), row.prompt_id, row.started_at, row.run_id
