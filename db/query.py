"""Queries over everything that was found, composed in Python and taken as rows, pandas or Arrow.

    Query(store).where(strategy="anger", min_refusal=0.5).sorted("novelty").limit(20).rows()

A query is a value: each call gives a new one, and nothing is read before a method of the last group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from db import lookup, orders, plan, shown
from db.filters import Asked, resolve

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from db.store import Store

_BATCH = 500
# (prompt id, cosine) of the k prompts nearest to what was asked for, the nearest first.
Nearest = Callable[[int], Sequence[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class Query:
    """Prompts as they were found, one row for each run and target that evaluated them.

    With safety "harmful" or "controversial" the prompts that gates turned away are there too, behind
    the others and without a refusal rate.

    Methods that read raise ConfigError for a name that is not known (the nearest is named) or a value
    out of range, StoreError for a database that cannot be read.
    """

    store: Store
    asked: Asked = field(default_factory=Asked)
    sort: str = "fitness"
    n: int | None = None
    nearest: Nearest | None = None

    # Composing

    def where(self, **filters: Any) -> Query:
        """With these filters too (see `db.filters.Asked`); one that was set before is replaced."""
        return replace(self, asked=replace(self.asked, **filters))

    def sorted(self, by: str) -> Query:
        """Largest first, unknown last, ties by prompt id and age of the run.

        - fitness, refusal: as stored
        - novelty: mean cosine distance to the five nearest others among the fittest
          `orders.NOVEL_AMONG` of the result; the rest is left out
        - cliff: the deepest refusal cliff in the thinking over the target's samples
        - inverse-cliff: the highest inverse one, how far the score rises above its plateau
        """
        return replace(self, sort=by)

    def limit(self, n: int | None) -> Query:
        """At most so many rows."""
        return replace(self, n=n)

    def near(self, nearest: Nearest) -> Query:
        """The prompts nearest to something, the nearest first; rows have `cosine`."""
        return replace(self, nearest=nearest)

    # Reading

    def iterate(self) -> Iterator[dict[str, Any]]:
        """Rows one by one, of one state of the database; memory does not grow with them (but sorted by
        novelty or cliff). The keys are `columns`."""
        lookup.require_order(self.sort, self.n, lookup.QUERY_SORTS)
        with self.store.reading() as connection:
            yield from islice(self._rows(connection), self.n)

    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        return list(self.iterate())

    def count(self, at_most: int = 10_000) -> int:
        """How many rows there are, without reading them; `at_most` if they are as many or more."""
        lookup.require_order(self.sort, self.n, lookup.QUERY_SORTS)
        most = at_most if self.n is None else min(self.n, at_most)
        with self.store.reading() as connection:
            return plan.count(connection, resolve(connection, self.asked), most)

    def to_arrow(self) -> pa.Table:
        """A table whose schema is the same whatever the rows."""
        return shown.to_arrow(self.iterate(), self._extra)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame; unknown numbers are NaN."""
        return self.to_arrow().to_pandas()

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of every row."""
        return shown.COLUMNS if self._extra is None else (*shown.COLUMNS, self._extra)

    @property
    def _extra(self) -> str | None:
        """The column that the sort adds."""
        if self.nearest is not None:
            return "cosine"
        added = self.sort in ("novelty", "cliff", "inverse-cliff")
        return self.sort.replace("-", "_") if added else None

    def _rows(self, connection: Connection) -> Iterator[dict[str, Any]]:
        asked = resolve(connection, self.asked)
        if self.nearest is not None:
            found = orders.by_nearness(connection, asked, self.nearest, self.n)
        elif self.sort == "novelty":
            found = orders.by_novelty(connection, asked)
        elif self.sort in ("cliff", "inverse-cliff"):
            inverse = self.sort == "inverse-cliff"
            found = orders.by_cliff(connection, asked, self.n, inverse=inverse)
        else:
            found = orders.by_column(connection, asked, self.sort, self.n)
        size = _BATCH if self.n is None else min(_BATCH, self.n)
        while batch := list(islice(found, size)):
            yield from shown.rows(connection, batch, self._extra)
