"""The documented queries, each as a call with changing arguments: for `store_scale.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from db import queries
from db.models import Prompt, Run
from db.store import Store
from evo.types import MUTATIONS


@dataclass(frozen=True, slots=True)
class Arguments:
    """What there is to ask for in this database."""

    runs: tuple[str, ...]
    words: tuple[str, ...]
    prompt_ids: tuple[str, ...]

    @classmethod
    def of(cls, store: Store) -> Arguments:
        with store.reading() as connection:
            runs = tuple(connection.scalars(select(Run.name).order_by(Run.started_at)))
            some = connection.execute(
                select(Prompt.prompt_id, Prompt.text).order_by(Prompt.prompt_id).limit(200)
            ).all()
        words = sorted({w for row in some for w in row.text.split() if len(w) > 4})
        return cls(runs, tuple(words), tuple(row.prompt_id for row in some))


Ask = Callable[[Store, Arguments, np.random.Generator], Any]


def _one(rng: np.random.Generator, items: tuple[str, ...]) -> str:
    return items[int(rng.integers(len(items)))]


QUERIES: dict[str, Ask] = {
    "runs": lambda s, a, r: queries.runs(s),
    "show": lambda s, a, r: queries.run_summary(s, _one(r, a.runs)),
    "query": lambda s, a, r: queries.query(s, limit=20),
    "query --run": lambda s, a, r: queries.query(s, run=_one(r, a.runs), limit=20),
    "query --strategy --min-refusal": lambda s, a, r: queries.query(
        s, strategy=_one(r, MUTATIONS), min_refusal=0.5, limit=20
    ),
    "query --safety": lambda s, a, r: queries.query(s, safety="harmless", limit=20),
    "query --like": lambda s, a, r: queries.query(s, like=_one(r, a.words), limit=20),
    "lineage": lambda s, a, r: queries.lineage(s, _one(r, a.prompt_ids), None),
}
