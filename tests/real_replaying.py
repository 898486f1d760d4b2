"""A search on the over-cautious model in this process, without Ray, whose engine can be switched off."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from db.store import Store
from evo import seeds as seed_sets
from evo import wiring
from evo.api import _RunRecorder
from evo.asktell import Search
from evo.config import Config
from evo.run import Loop
from evo.scribe import Proposal
from evo.types import Outcome
from fitness.evaluate import Evaluator
from fitness.types import Gate, Target
from workers.interface import (
    Embedder,
    EngineDescription,
    EngineDied,
    Failure,
    Generation,
    GenerationRequest,
    Opening,
    OpeningEngine,
)


@dataclass
class Switched:
    """An engine that dies when it is asked once more than `calls_left`."""

    inner: OpeningEngine
    calls_left: int = 1_000_000

    @property
    def description(self) -> EngineDescription:
        return self.inner.description

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        self._take()
        return await self.inner.generate(requests)

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        self._take()
        return await self.inner.open(requests)

    async def close(self) -> None:
        await self.inner.close()

    def _take(self) -> None:
        if self.calls_left == 0:
            raise AssertionError("the target was asked for what is stored")
        self.calls_left -= 1


class _DyingRecorder(_RunRecorder):
    """Brings the end before the record of a batch: it is lost, as to a kill."""

    batches: int | None = None

    def write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
        if outcomes and self.batches == 0:
            raise EngineDied("killed before the record")
        if outcomes and self.batches is not None:
            self.batches -= 1
        super().write(proposals, outcomes)


@dataclass(frozen=True, slots=True)
class RealParts:
    """What all runs of the one target share."""

    config: Config
    evaluator: Evaluator
    engine: Switched
    embedder: Embedder
    gates: Sequence[Gate]

    @classmethod
    def of(cls, config: Config) -> RealParts:
        evaluator = wiring._evaluator(config.model_dump(mode="json"), 1)
        engine = Switched(evaluator.engine)  # type: ignore[arg-type]
        evaluator.engine = engine
        embedder = wiring.embedder(config)
        return cls(config, evaluator, engine, embedder, wiring.gates(config, embedder, {}))

    @property
    def target(self) -> Target:
        target = self.config.target
        return Target.of(
            self.engine.description, target.system_text, wiring.sampling(target.sampling)
        )

    def begin(self, store: Store) -> str:
        raw = self.config.model_dump(mode="json")
        run_id = store.begin_run(self.config.name, raw, self.config.seed, "test").run_id
        store.register_target(run_id, self.target, self.engine.description)
        store.register_seeds(seed_sets.load(self.config.seeds, self.config.seed))
        return run_id

    def live(self, store: Store, run_id: str, batches: int | None = None) -> bool:
        """One life, which ends after so many recorded batches; whether the run came to its end."""
        seeds = seed_sets.load(self.config.seeds, self.config.seed)
        recorder = _DyingRecorder(store, run_id, self.target.target_id, self.embedder.name)
        recorder.batches = batches
        ticks = itertools.count()
        loop = Loop(
            search=Search(self.config, seeds),
            proposers=wiring.proposers(self.config, seeds, None),
            gates=self.gates,
            embedder=self.embedder,
            evaluator=self.evaluator,
            recorder=recorder,
            clock=lambda: float(next(ticks)),
            in_flight=1,
        )
        differing, pending = loop.replay(
            store.replay(run_id, samples=True), store.pending(run_id), wall_s=0.0
        )
        assert differing == 0
        try:
            asyncio.run(loop.run(pending))
        except EngineDied:
            return False
        return True
