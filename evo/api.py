"""Searching from Python: `evo.search(config)` runs to the end and gives back a `Run`.

An edge: it composes the parts, owns the run's life (begin, heartbeat, end) and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import db
from evo import seeds as seed_sets
from evo import wiring
from evo.config import Config, validate
from evo.run import Loop, Progress, Proposal
from evo.search import Search
from evo.types import Outcome
from fitness.types import JudgedSample, Target
from workers import cluster
from workers.interface import ConfigError, EvocliffError, StoreError

if TYPE_CHECKING:
    import datasets

    from db.store import Store
    from workers.pool import Pool

_HEARTBEAT_S = 5.0
_WATCH_S = 0.25


@dataclass(frozen=True, slots=True)
class Run:
    """A run in the store."""

    store_url: str
    run_id: str
    name: str
    status: str
    reason: str

    def summary(self) -> dict[str, Any]:
        """The counts of `evocliff show RUN --json`."""
        from db import queries

        with contextlib.closing(db.open(self.store_url, read_only=True)) as store:
            return dict(queries.run_summary(store, self.run_id))

    def to_dataset(self) -> datasets.Dataset:
        """The run's over-refusals as rows of the `test` export, best first."""
        import datasets

        from db.exporters import rows

        with contextlib.closing(db.open(self.store_url, read_only=True)) as store:
            return datasets.Dataset.from_list(rows(store, "test", run=self.run_id))


@dataclass(slots=True)
class Watched:
    """What a live view may look at while a run goes on."""

    run_id: str
    name: str
    config: Config
    progress: Progress
    pool: Pool[Any, Any]
    resumed: bool
    differing: int = 0


Watcher = Callable[[Watched], None]


class _RunRecorder:
    """The store, bound to one run and target: what the loop sees of the database."""

    def __init__(self, store: Store, run_id: str, target_id: str) -> None:
        self._store, self._run_id, self._target_id = store, run_id, target_id

    def propose(self, proposals: Sequence[Proposal]) -> None:
        if proposals:
            self._store.propose(self._run_id, proposals)

    def record(self, outcomes: Sequence[Outcome]) -> None:
        self._store.record(self._run_id, outcomes)

    def known_samples(self, prompt_ids: Sequence[str]) -> Mapping[str, tuple[JudgedSample, ...]]:
        return self._store.known_samples(self._target_id, prompt_ids)


def search(
    config: Config | Mapping[str, Any],
    *,
    store: str | None = None,
    address: str = "local",
    resume: str | None = None,
    watch: Watcher | None = None,
) -> Run:
    """Run a search to its end, blocking.

    Args:
        config: a `Config`, or the same as plain data.
        store: database URL; default: the config's.
        address: "local" starts a Ray and stops it again; else the address of one that runs.
        resume: a run, by name or id, to go on with; its stored config counts, budget apart.
        watch: called a few times a second with the state of the run.

    Raises:
        ConfigError, StoreError: bad input; nothing was started.
        TargetError: the model could not go on; what had ended is stored, and the run can be resumed.
    """
    if not isinstance(config, Config):
        config = validate(config)
    url = store or config.store
    wiring.check(config)
    seeds = seed_sets.load(config.seeds, config.seed)
    with contextlib.closing(db.open(url)) as opened:
        claimed = opened.claim_run(resume) if resume is not None else None
        try:
            with cluster.connect(address):
                return asyncio.run(_session(config, seeds, opened, url, claimed, watch))
        except BaseException:
            if claimed is not None:
                opened.end_run(claimed.run_id, "interrupted", "did not start", wall_s=claimed.wall_s)
            raise
