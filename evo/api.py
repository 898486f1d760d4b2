"""Searching from Python: `evo.search(config)` runs to the end and gives back a `Run`.

An edge: it composes the parts, owns the run's life (begin, heartbeat, end) and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import db
from evo import hosting, tracing, wiring
from evo.asktell import Search
from evo.config import Config, validate, with_overrides
from evo.run import Loop, Progress, Proposal
from evo.types import Outcome, Seed
from fitness.several import SeveralTargets
from fitness.targets import Over
from fitness.types import (
    CHAT,
    Evaluation,
    EvaluationRequest,
    Gate,
    JudgedSample,
    Surface,
    Target,
)
from workers import cluster
from workers.interface import (
    ConfigError,
    Embedder,
    EngineDescription,
    Generation,
    GenerationRequest,
    Opening,
    StoreError,
    Worker,
)
from workers.metering import Account, MeteredWorker
from workers.metrics import Metrics
from workers.pool import Pool, Priority
from workers.status import ReplicaStatus

if TYPE_CHECKING:
    import datasets

    from db.store import Claim, Store

# What says nothing of the results: a resumed run may differ in it.
_CHANGEABLE = (
    "budget.",
    "target.replicas",
    "target.cpus",
    "target.gpus",
    "target.api_key_env",
    "target.concurrency",
    "target.requests_per_minute",
    "target.tokens_per_minute",
    "target.timeout_s",
    "target.patience_s",
)
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

    def _repr_html_(self) -> str:
        """The run's report, in a notebook."""
        from evo import notebook

        return notebook.run(self.run_id, store=self.store_url)._repr_html_()

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
    pools: Sequence[Pool[Any, Any]] = ()  # the target's and all others
    targets: Sequence[Pool[Any, Any]] = ()  # `pool` is the first of them
    search: Search | None = None


Watcher = Callable[[Watched], None]


@dataclass(frozen=True, slots=True)
class Asking:
    """What makes an evaluation of a search: its prompts are all asked, whatever `gates` say of them,
    and perhaps in a frame of their own."""

    gates: Sequence[Gate]
    surface: Surface | None = None


class _RunRecorder:
    """The store, bound to one run and target: what the loop sees of the database."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        target_id: str,
        embedder: str,
        *,
        several: bool = False,
        probe: str | None = None,
    ) -> None:
        self._store, self._run_id, self._several = store, run_id, several
        self._probe = probe
        self._target_id, self._embedder = target_id, embedder

    def write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
        self._store.write(self._run_id, proposals, outcomes, self._embedder)

    def known_samples(self, prompt_ids: Sequence[str]) -> Mapping[str, tuple[JudgedSample, ...]]:
        if self._several:  # they are asked for by target
            return {}
        return self._store.known_samples(self._target_id, prompt_ids, self._probe)

    def known_openings(self, prompt_ids: Sequence[str]) -> Mapping[str, Opening]:
        return self._store.known_openings(self._target_id, prompt_ids)


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
        resume: a run, by name or id, to go on with; pass the config of `stored_config`.
        watch: called a few times a second with the state of the run.

    Raises:
        ConfigError, StoreError: bad input; nothing was started.
        TargetError: the model could not go on; what had ended is stored, and the run can be resumed.
    """
    if not isinstance(config, Config):
        config = validate(config)
    url = store or config.store
    wiring.check(config)
    config = tracing.pinned(config)
    return live(config, wiring.seeds(config, url), url, address, resume, watch)


def live(
    config: Config,
    seeds: Sequence[Seed],
    url: str,
    address: str = "local",
    resume: str | None = None,
    watch: Watcher | None = None,
    asking: Asking | None = None,
) -> Run:
    """One life of a run, as `search`: of a checked config, from these seeds. `asking`: it is an
    evaluation."""
    with contextlib.closing(db.open(url)) as opened:
        claim = opened.claim_run(resume) if resume is not None else None
        try:
            from threadpoolctl import threadpool_limits

            with cluster.connect(address):
                session = _Session(config, seeds, opened, url, claim, watch, asking)
                # The loop's products are small: BLAS threads would only spin between them.
                with threadpool_limits(1, user_api="blas"):
                    return _to_its_end(session.run())
        except BaseException as error:
            # A claimed run that did not get as far as its loop can be claimed again at once.
            if claim is not None:
                opened.end_run(claim.run_id, "interrupted", _reason(error), wall_s=claim.wall_s)
            raise


def _to_its_end(running: Coroutine[Any, Any, Run]) -> Run:
    """A second Ctrl-C cancels what runs: to whoever called it that is an interrupt like any other."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            return asyncio.run(running)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    return _beside_a_loop(running)


def _beside_a_loop(running: Coroutine[Any, Any, Run]) -> Run:
    """In a thread: a notebook's own loop runs in this one. Its interrupt ends the search in order."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(running)
    done: Future[Run] = Future()

    def work() -> None:
        try:
            done.set_result(loop.run_until_complete(task))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="evocliff-search", daemon=True)
    thread.start()
    try:
        return done.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise


def stored_config(url: str, run: str, overrides: Sequence[str] = ()) -> Config:
    """The config that a run was begun with; only its budget, its replicas and how hard its endpoint
    is pressed may be changed.

    Raises:
        ConfigError: no such run, or an override of something else.
    """
    for override in overrides:
        if not re.sub(r"^targets\.[^.]+\.", "target.", override).startswith(_CHANGEABLE):
            raise ConfigError(
                f"--set {override}: a resumed run may change its budget.* and target.replicas only, "
                "and of an endpoint its rates, times and api_key_env"
            )
    with contextlib.closing(db.open(url, read_only=True)) as opened:
        stored = opened.stored_config(run)
    return with_overrides(validate(stored, f"the stored config of {run}"), overrides)


class _Session:
    """One life of a run: from loading the models to letting go of the run."""

    def __init__(
        self,
        config: Config,
        seeds: Sequence[Seed],
        store: Store,
        url: str,
        claim: Claim | None,
        watch: Watcher | None,
        asking: Asking | None = None,
    ) -> None:
        self._asking = asking
        self._config, self._seeds, self._store, self._url = config, seeds, store, url
        self._claim, self._watch = claim, watch
        self._side_costs = Account()

    async def run(self) -> Run:
        """Load, search, end. The pools are closed whatever happens."""
        nodes = cluster.nodes()
        if not cluster.grows_unseen():
            hosting.require_room(self._config, nodes)
        cores = hosting.shared_cores(self._config, nodes)
        asking = self._asking
        surface = None if asking is None else asking.surface
        targets = wiring.target_pools(self._config, cores, surface)
        proposing = wiring.proposer_pool(self._config, cores)
        gating = wiring.gate_pools(self._config, cores, proposing) if asking is None else {}
        guarding = wiring.guard_pools(self._config, cores) if asking is None else {}
        every = (*targets.values(), proposing, *gating.values(), *guarding.values())
        pools = [pool for pool in every if isinstance(pool, Pool)]
        try:
            # The models of the replicas and of this process load at the same time.
            embedder, *descriptions = await asyncio.gather(
                asyncio.to_thread(wiring.embedder, self._config),
                *(pool.start() for pool in targets.values()),
            )
            if proposing is not None:
                await proposing.start()
            hosted = {
                name: (MeteredWorker(pool, self._side_costs), (await pool.start()).revision)
                for name, pool in gating.items()
            }
            gates: Sequence[Gate]
            if asking is None:
                boxes = await wiring.guard_boxes(guarding)
                gates = wiring.gates(self._config, embedder, hosted, boxes)
            else:
                gates = asking.gates
            return await self._search(targets, proposing, pools, embedder, gates, descriptions)
        finally:
            for pool in pools:
                await pool.close()

    async def _search(
        self,
        targets: Mapping[str, Pool[EvaluationRequest, Evaluation]],
        proposing: Pool[GenerationRequest, Generation] | None,
        pools: Sequence[Pool[Any, Any]],
        embedder: Embedder,
        gates: Sequence[Gate],
        descriptions: Sequence[EngineDescription],
    ) -> Run:
        config, store = self._config, self._store
        samples_first = config.search.samples.first
        asking = self._asking
        asked = _targets(config, descriptions, None if asking is None else asking.surface)
        claim = self._claim or store.begin_run(
            config.name,
            config.model_dump(mode="json"),
            config.seed,
            version("evocliff"),
            "search" if asking is None else "evaluate",
        )
        for place, (target, description) in enumerate(zip(asked, descriptions, strict=True)):
            store.register_target(claim.run_id, target, description, further=place > 0)
        by_id = dict(zip((t.target_id for t in asked), targets.values(), strict=True))
        first, *further = by_id.values()
        evaluator: Worker[EvaluationRequest, Evaluation] = first
        if further:
            over = Over(config.search.fitness_over, config.search.quantile)
            known = partial(store.known_samples, probe=config.search.probe_version)
            evaluator = SeveralTargets(by_id, over, known)
        store.register_seeds(self._seeds)
        search = Search(config, self._seeds)
        loop = Loop(
            search=search,
            proposers=wiring.proposers(
                config,
                self._seeds,
                None
                if proposing is None
                else MeteredWorker(proposing.at(Priority.MUTATE), self._side_costs),
                wiring.guessing(search, embedder),
            ),
            gates=gates,
            embedder=embedder,
            evaluator=evaluator,
            recorder=_RunRecorder(
                store,
                claim.run_id,
                next(iter(by_id)),
                embedder.name,
                several=bool(further),
                probe=config.search.probe_version,
            ),
            clock=time.monotonic,
            in_flight=lambda: max(
                pool.calls_to_offer(config.search.batch * samples_first) for pool in by_id.values()
            ),
            side_costs=self._side_costs.take,
            admit_all=asking is not None,
        )
        differing, pending = loop.replay(
            store.replay(claim.run_id, samples=True), store.pending(claim.run_id), claim.wall_s
        )
        watched = Watched(
            claim.run_id,
            claim.name,
            config,
            loop.progress,
            first,
            self._claim is not None,
            differing,
            pools,
            list(by_id.values()),
            search,
        )
        status, reason = "failed", "unknown"
        watching = asyncio.ensure_future(self._keep_watch(watched))
        try:
            with _stop_on_signals(loop.stop):
                reason = await loop.run(pending)
            status = "interrupted" if reason == "interrupted" else "finished"
        except BaseException as error:
            status, reason = "interrupted", _reason(error)
            raise
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            busy = _busy(watched)
            wall_s = loop.progress.spent.wall_s
            with contextlib.suppress(StoreError):  # the first error is the one to show
                store.heartbeat(claim.run_id, wall_s, busy, _replicas(pools))
                store.end_run(claim.run_id, status, reason, wall_s=wall_s, replica_busy=busy)
                if status == "finished":
                    from db import summaries

                    summaries.keep(store, [claim.run_id])
            self._claim = None
        if self._watch is not None:
            self._watch(watched)
        return Run(self._url, claim.run_id, claim.name, status, reason)

    async def _keep_watch(self, watched: Watched) -> None:
        """Show the state a few times a second; every few seconds write a heartbeat and publish how
        the replicas do."""
        beat = 0.0
        metrics = Metrics(watched.run_id)
        while True:
            if self._watch is not None:
                self._watch(watched)
            if time.monotonic() - beat >= _HEARTBEAT_S:
                beat = time.monotonic()
                metrics.publish(pool.status() for pool in watched.pools)
                busy, wall_s = _busy(watched), watched.progress.spent.wall_s
                replicas = _replicas(watched.pools)
                with contextlib.suppress(StoreError):  # the loop meets the same error and says it
                    await asyncio.to_thread(
                        self._store.heartbeat, watched.run_id, wall_s, busy, replicas
                    )
            await asyncio.sleep(_WATCH_S)


def _targets(
    config: Config, descriptions: Sequence[EngineDescription], surface: Surface | None = None
) -> list[Target]:
    """The targets as asked, in the config's order.

    Raises:
        ConfigError: two of them are the same.
    """
    named: dict[str, str] = {}
    made = []
    for (name, settings), described in zip(config.every_target.items(), descriptions, strict=True):
        target = Target.of(
            described,
            settings.system_text,
            wiring.sampling(settings.sampling),
            CHAT if surface is None else surface.name,
            settings.first_token_text,
        )
        other = named.setdefault(target.target_id, name)
        if other != name:
            raise ConfigError(
                f"targets.{name}: the same target as targets.{other}; let model, adapter, "
                f"system_prompt or sampling differ, or raise targets.{other}.replicas"
            )
        made.append(target)
    return made


def _busy(watched: Watched) -> float:
    """Over the replicas of all targets."""
    busy = [pool.status().mean_busy for pool in watched.targets or [watched.pool]]
    return sum(busy) / len(busy)


def _replicas(pools: Sequence[Pool[Any, Any]]) -> list[ReplicaStatus]:
    return [replica for pool in pools for replica in pool.status().replicas]


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


@contextlib.contextmanager
def _stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) lets the loop end in order; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def handle() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
