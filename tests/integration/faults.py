"""Searches over a real Ray that have something done to them: what the fault table counts.

The loop, the store and the pool are real; the replicas are real processes that answer by a script, so
that counts are exact. `search` runs one to its end; a fault is a coroutine that is let loose on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import db
import evo
from evo.api import Watched, _RunRecorder
from evo.config import Config, validate
from fitness.types import Evaluation, EvaluationRequest, Target
from tests.loop_fakes import SEEDS, FakeEvaluator, config, loop
from workers.interface import EngineDescription, EngineDied, Failure, Sampling
from workers.pool import Pool, ReplicaState

DESCRIPTION = EngineDescription("fake", "scripted", "1", "none", "float32", "cpu", 100)
POISONED = SEEDS[4].text
START_S = 2.0
BATCH_S = 1.5
EVALUATIONS = 240

ScriptedPool = Pool[EvaluationRequest, Evaluation]
Fault = Callable[["Running"], Awaitable[None]]


@dataclass
class Scripted:
    """A replica's worker: loads for `START_S`, answers a batch in `BATCH_S`.

    `once` is a file: the one process that can make it has an engine that dies. `poison`: the process
    that is asked for this prompt is killed, whichever it is.
    """

    once: Path | None = None
    poison: str | None = None
    description: EngineDescription = DESCRIPTION
    _answers: FakeEvaluator = field(default_factory=FakeEvaluator)

    def __post_init__(self) -> None:
        time.sleep(START_S)

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        await asyncio.sleep(BATCH_S / 2)
        if self.poison is not None and any(r.prompt == self.poison for r in requests):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.once is not None and self._is_first():
            raise EngineDied("the engine has died of the test")
        await asyncio.sleep(BATCH_S / 2)
        return await self._answers.run(requests)

    def _is_first(self) -> bool:
        try:
            os.close(os.open(str(self.once), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    async def close(self) -> None:
        return None


@dataclass
class Running:
    """A search under way, as a fault sees it."""

    pool: ScriptedPool
    progress: Any
    evaluations: int
    recovery_s: float | None = None
    others_busy: float | None = None

    async def evaluated(self, n: int) -> None:
        while self.progress.spent.evaluations < n:
            await asyncio.sleep(0.02)

    async def recovered(self, number: int) -> None:
        """Wait until a replica that has been lost answers again; note how long that took from now, and
        in which share of that time those that were not lost held work: the fault may have taken
        several, and one that has no process cannot work."""
        began, looks, busy = time.monotonic(), 0, 0
        before = self._replica(number).finished
        while self._replica(number).finished == before:
            if self.progress.spent.evaluations == self.evaluations:
                return  # it came too late to be of use
            replicas = self.pool.status().replicas
            others = [r for r in replicas if r.number != number and r.state is ReplicaState.READY]
            looks += len(others)
            busy += sum(r.queue > 0 for r in others)
            await asyncio.sleep(0.02)
        self.recovery_s = time.monotonic() - began
        self.others_busy = busy / looks if looks else None

    def _replica(self, number: int) -> Any:
        return next(r for r in self.pool.status().replicas if r.number == number)


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a search. Times in seconds, without the first loading of the replicas."""

    seconds: float
    start_s: float
    restarts: int
    recovery_s: float | None
    others_busy: float | None


def search(
    path: Path,
    fault: Fault | None = None,
    *,
    replicas: int = 3,
    evaluations: int = EVALUATIONS,
    once: Path | None = None,
    poison: str | None = None,
    resume: bool = False,
    in_flight: int = 2,
    cpus: float = 0.1,
) -> Ended:
    """One life of a search in a connected Ray, with the fault let loose on it."""
    settings = config(budget__evaluations=evaluations, search__in_flight=in_flight)
    pool: ScriptedPool = Pool(
        partial(Scripted, once, poison), replicas=replicas, in_flight=in_flight, cpus=cpus
    )
    with contextlib.closing(db.open(f"sqlite:///{path}")) as store:
        if resume:
            claim = store.claim_run("search")
        else:
            claim = store.begin_run("search", settings.model_dump(mode="json"), 0, "test")
        target = Target.of(DESCRIPTION, None, Sampling())
        target_id = store.register_target(claim.run_id, target, DESCRIPTION)
        store.register_seeds(SEEDS)
        running = loop(settings)
        running.evaluator = pool
        running.recorder = _RunRecorder(store, claim.run_id, target_id, "hash")
        running.in_flight = in_flight * replicas
        differing, pending = running.replay(
            store.replay(claim.run_id, samples=True), store.pending(claim.run_id), claim.wall_s
        )
        assert differing == 0
        seen = Running(pool, running.progress, evaluations)

        async def live() -> float:
            await pool.start()
            print("ready", flush=True)
            began = time.monotonic()
            work = asyncio.ensure_future(running.run(pending))
            if fault is not None:
                await asyncio.wait_for(fault(seen), timeout=120)
            await work
            seconds = time.monotonic() - began
            await pool.close()
            return seconds

        seconds = asyncio.run(live())
        store.end_run(claim.run_id, "finished", "done", wall_s=seconds)
    restarts = pool.status().restarts
    return Ended(seconds, pool.start_s or 0.0, restarts, seen.recovery_s, seen.others_busy)


# Faults


async def kill_replica(running: Running) -> None:
    """kill -9 one replica in mid-search."""
    await running.evaluated(20)
    pid = running.pool.status().replicas[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await running.recovered(0)


async def nothing(running: Running) -> None:
    """For faults that are in the script."""


async def kill_replica_early(running: Running) -> None:
    """For real models, which are slower."""
    await running.evaluated(1)
    pid = running.pool.status().replicas[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await running.recovered(0)


# A real model


def real_config(evaluations: int) -> Config:
    """Two replicas of the over-cautious SmolLM2, short answers, small batches."""
    return validate(
        {
            "seeds": {"dataset": "xstest-safe", "limit": 12},
            "target": {
                "model": "local:smollm2-overcautious",
                "replicas": 2,
                "sampling": {"max_tokens": 8},
            },
            "search": {
                "batch": 2,
                "samples": {"first": 2, "max": 2},
                "screening": {"predictor": False, "opening": False},
            },
            "budget": {"evaluations": evaluations},
        }
    )


def real_search(path: Path, settings: Config, fault: Fault | None = None) -> Ended:
    """`evo.api.search` in a thread, with a fault let loose on it once the replicas have loaded."""
    started = threading.Event()
    watched: list[Watched] = []
    times: dict[str, float] = {}

    def watch(seen: Watched) -> None:
        if not watched:
            times["loaded"] = time.monotonic()
            watched.append(seen)
            started.set()

    failure: list[BaseException] = []

    def live() -> None:
        try:
            evo.search(settings, store=f"sqlite:///{path}", watch=watch)
        except BaseException as error:  # noqa: BLE001 - told to the one who waits
            failure.append(error)
        finally:
            times["ended"] = time.monotonic()
            started.set()

    thread = threading.Thread(target=live)
    thread.start()
    started.wait()
    seen = Running(watched[0].pool, watched[0].progress, settings.budget.evaluations or 0)
    if fault is not None:
        asyncio.run(fault(seen))
    thread.join()
    if failure:
        raise failure[0]
    restarts = seen.pool.status().restarts
    return Ended(
        times["ended"] - times["loaded"],
        seen.pool.start_s or 0.0,
        restarts,
        seen.recovery_s,
        seen.others_busy,
    )


# Counts


@dataclass(frozen=True, slots=True)
class Stored:
    """What a database holds of its one run."""

    evaluations: int
    duplicates: int
    pending: int
    quarantined: int


def stored(path: Path) -> Stored:
    """duplicates: evaluations beyond the first of a prompt, and samples beyond those evaluated."""

    def number(query: str) -> int:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return int(connection.execute(query).fetchone()[0] or 0)

    evaluations = number("SELECT count(*) FROM evaluations")
    return Stored(
        evaluations=evaluations,
        duplicates=evaluations
        - number("SELECT count(DISTINCT prompt_id) FROM evaluations")
        + number("SELECT count(*) FROM samples")
        - number("SELECT sum(n_new) FROM evaluations"),
        pending=number("SELECT count(*) FROM proposals WHERE status = 'pending'"),
        quarantined=number("SELECT count(*) FROM proposals WHERE failure_kind = 'replica_lost'"),
    )


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster of a head with two cores and a node with two; yields it and the node. The driver is
    connected inside the block."""
    import ray
    from ray.cluster_utils import Cluster

    # Without its exit hooks, which are signal handlers, nodes may be added from other threads.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2}, shutdown_at_exit=False)
    try:
        node = cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster, node
    finally:
        ray.shutdown()
        cluster.shutdown()


async def lose_node(cluster: Any, node: Any, running: Running) -> None:
    """Take a node away in mid-search, with the replicas on it; give the cluster another one later."""
    await running.evaluated(20)
    await asyncio.to_thread(cluster.remove_node, node)
    while not any(r.state is ReplicaState.LOST for r in running.pool.status().replicas):
        await asyncio.sleep(0.02)
    lost = next(r for r in running.pool.status().replicas if r.state is ReplicaState.LOST)
    await asyncio.to_thread(cluster.add_node, num_cpus=2)
    await running.recovered(lost.number)


def main(words: Sequence[str]) -> None:
    """One life in a process that may be killed: URL-less PATH, new or resume."""
    from workers import cluster

    with cluster.connect("local"):
        search(Path(words[0]), resume=words[1] == "resume")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
