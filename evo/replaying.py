"""A stored run told to a new search: does it choose again what it chose? No model is asked.

An edge: it reads the store and the seeds, and makes a search of the run's config.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import db
from db import queries
from evo import wiring
from evo.asktell import Search
from evo.config import validate


@dataclass(frozen=True, slots=True)
class Replayed:
    """`proposals` were chosen again, those among them that had not ended (`pending`) too; `differing`
    of the choices came out otherwise than they are stored."""

    run: str
    proposals: int
    pending: int
    differing: int


def replay(url: str, run: str) -> Replayed:
    """Tell the outcomes of a run, in their stored order, to a new search, and compare its choices.

    Args:
        url: the database.
        run: name or id.

    Raises:
        ConfigError: no such run, or its seeds cannot be read any more.
        StoreError: the database cannot be read.
    """
    with contextlib.closing(db.open(url, read_only=True)) as store:
        run_id = queries.find_run(store, run)
        raw = store.stored_config(run_id)
        outcomes = store.replay(run_id)
        pending = [assignment for assignment, _ in store.pending(run_id)]
    config = validate(raw, f"the stored config of {run}")
    search = Search(config, wiring.seeds(config, url))
    differing, _ = search.replay(outcomes, pending)
    return Replayed(run_id, len(outcomes) + len(pending), len(pending), differing)
