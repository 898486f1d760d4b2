"""Finding the boundary pairs of a run: models, gates and store round `evo.boundary`.

An edge: it composes everything. What is asked is stored before it is used, and a probe is answered
from the same samples whether they were drawn now or in a life that was killed, so going on is doing
it again: only what is not stored costs tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import db
from db import boundary as stored
from evo import hosting, wiring
from evo.boundary import Answer, BoundarySearch, Limits, Probe, Rate, Text
from evo.boundary import Pair as FoundPair
from evo.config import Config, validate
from evo.seeding import derive
from fitness.safety import combine
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    Gate,
    GateDecision,
    JudgedSample,
    Safety,
    Target,
    Unscored,
)
from workers import cluster
from workers.interface import (
    ConfigError,
    Embedder,
    EngineDescription,
    Failure,
    Worker,
)
from workers.metering import Account, MeteredWorker
from workers.pool import Pool

if TYPE_CHECKING:
    from db.boundary import OverRefusal
    from db.store import Store

AT_ONCE = 8  # prompts whose probes go to the target together


@dataclass(frozen=True, slots=True)
class Told:
    """How far it is: prompts that are done, of how many, pairs found, tokens generated now."""

    done: int
    of: int
    pairs: int
    new_tokens: int


Tell = Callable[[Told], None]


@dataclass(frozen=True, slots=True)
class Bounded:
    """What came of it.

    prompts     over-refusals that were taken
    pairs       how many have a pair; `clear` of them by intervals that leave no doubt
    cut_short   prompts whose budget did not suffice for all that was to be tried
    new_tokens  generated now; `target_tokens` with what was stored before
    """

    run: str
    prompts: int
    pairs: int
    clear: int
    cut_short: int
    new_tokens: int
    target_tokens: int


class Prober:
    """Answers probes: gates first, then the target, all of it stored before it is handed on."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        target_id: str,
        config: Config,
        evaluator: Worker[EvaluationRequest, Evaluation],
        gates: Sequence[Gate],
        embedder: Embedder,
    ) -> None:
        self._store, self._run_id, self._target_id = store, run_id, target_id
        self._config, self._evaluator = config, evaluator
        self._gates, self._embedder = gates, embedder
        self.new_tokens = 0

    async def answer(self, asked: Sequence[tuple[BoundarySearch, Probe]]) -> list[Answer]:
        """One answer for each probe, same order.

        Raises:
            EvocliffError: the target or the store can go on no longer; what was answered is stored.
        """
        texts = {probe.prompt_id: probe.text for _, probe in asked}
        safety = await self._safety(texts)
        known = self._store.known_samples(self._target_id, list(texts))
        wanted: dict[str, int] = {}
        for _, probe in asked:
            if safety[probe.prompt_id] is Safety.HARMLESS:
                most = max(wanted.get(probe.prompt_id, 0), probe.n_samples)
                wanted[probe.prompt_id] = most
        results = await self._evaluate(texts, wanted, known)
        cosines = self._cosines(asked)
        return [
            self._answer(search, probe, results.get(probe.prompt_id), cosine)
            for (search, probe), cosine in zip(asked, cosines, strict=True)
        ]

    async def _safety(self, texts: Mapping[str, str]) -> dict[str, Safety]:
        """What all gates together say; what they have said before is not asked again."""
        said = stored.decided(self._store, list(texts))
        decisions: dict[str, list[GateDecision]] = {prompt: [] for prompt in texts}
        for gate in self._gates:
            key = (gate.name, gate.version)
            new = [prompt for prompt in texts if key not in said.get(prompt, {})]
            fresh = await gate.check([texts[prompt] for prompt in new]) if new else []
            by_prompt = dict(zip(new, fresh, strict=True))
            for prompt in texts:
                decisions[prompt].append(by_prompt.get(prompt) or said[prompt][key])
        stored.put_decided(self._store, texts, decisions)
        return {prompt: combine(given) for prompt, given in decisions.items()}

    async def _evaluate(
        self,
        texts: Mapping[str, str],
        wanted: Mapping[str, int],
        known: Mapping[str, tuple[JudgedSample, ...]],
    ) -> dict[str, Evaluation | Failure]:
        requests = [
            EvaluationRequest(
                prompt_id=prompt,
                prompt=texts[prompt],
                samples_first=count,
                samples_max=count,
                threshold=self._config.search.threshold,
                seed=derive(self._config.seed, "samples", prompt),
                known=known.get(prompt, ())[:count],
            )
            for prompt, count in wanted.items()
        ]
        size = self._config.search.batch
        parts = [requests[i : i + size] for i in range(0, len(requests), size)]
        answered = await asyncio.gather(
            *(self._ask(part) for part in parts), return_exceptions=True
        )
        for one in answered:
            if isinstance(one, BaseException):
                raise one  # its neighbours have stored what they got
        results = [r for one in answered if not isinstance(one, BaseException) for r in one]
        return dict(zip(wanted, results, strict=True))

    async def _ask(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        results = await self._evaluator.run(requests)
        probed = [
            stored.Probed(request.prompt_id, request.prompt, result)
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, Evaluation | Unscored)
        ]
        stored.put_probed(self._store, self._run_id, self._target_id, probed)
        self.new_tokens += sum(p.result.target_tokens for p in probed)
        return results

    def _cosines(self, asked: Sequence[tuple[BoundarySearch, Probe]]) -> list[float]:
        sides = [text for search, probe in asked for text in (search.refused.text, probe.text)]
        vectors = self._embedder.embed(sides)  # (2 * probes, dim)
        return [float(vectors[i] @ vectors[i + 1]) for i in range(0, len(sides), 2)]

    def _answer(
        self,
        search: BoundarySearch,
        probe: Probe,
        result: Evaluation | Failure | None,
        cosine: float,
    ) -> Answer:
        if not isinstance(result, Evaluation | Unscored):
            return Answer(None, 0, cosine)
        before = search.samples_before(probe.prompt_id)
        tokens = sum(s.sample.n_tokens for s in result.samples if s.sample.index >= before)
        if isinstance(result, Unscored):
            return Answer(None, tokens, cosine)
        score = result.score
        n = score.n_samples - score.n_unscored
        rate = Rate(score.refusal_rate, score.refusal_low, score.refusal_high, n)
        return Answer(rate, tokens, cosine)


async def find(
    prober: Prober,
    prompts: Sequence[OverRefusal],
    limits: Limits,
    put: Callable[[FoundPair, int], None],
    tell: Tell = lambda told: None,
) -> list[BoundarySearch]:
    """Search every prompt, a few at once; `put` gets each pair and its tokens when its search ends."""
    waiting = [
        BoundarySearch(
            Text(p.text, p.n_samples),
            [Text(r.text, r.n_samples) for r in p.relatives],
            limits,
        )
        for p in reversed(prompts)
    ]
    active: list[BoundarySearch] = []
    done: list[BoundarySearch] = []
    pairs = 0
    while waiting or active:
        while waiting and len(active) < AT_ONCE:
            active.append(waiting.pop())
        rounds = [(search, search.ask()) for search in active]
        asked = [(search, probe) for search, probes in rounds for probe in probes]
        answers = iter(await prober.answer(asked) if asked else [])
        for search, probes in rounds:
            if probes:
                search.tell([next(answers) for _ in probes])
                continue
            active.remove(search)
            done.append(search)
            if search.pair is not None:
                put(search.pair, search.spent)
                pairs += 1
        tell(Told(len(done), len(prompts), pairs, prober.new_tokens))
    return done


def bound(
    url: str,
    run: str,
    *,
    limit: int | None = None,
    target_tokens: int = 4000,
    address: str = "local",
    tell: Tell = lambda told: None,
) -> Bounded:
    """Find and store the boundary pairs of a run's over-refusals, best first, blocking.

    Args:
        limit: how many over-refusals; None: all.
        target_tokens: most tokens that the target generates for each, stored ones counted.

    Raises:
        ConfigError, StoreError: bad input; nothing was started.
        TargetError: the model could not go on; what it answered is stored, and the same call goes on.
    """
    with contextlib.closing(db.open(url)) as store:
        config = validate(store.stored_config(run), f"the stored config of {run}").by_refusals
        prompts = stored.chosen(store, run, limit)
        run_id, _ = stored.target_of(store, run)
        if not prompts:
            return Bounded(run_id, 0, 0, 0, 0, 0, 0)
        wiring.check(config)
        with cluster.connect(address):
            return asyncio.run(_bound(store, run_id, config, prompts, target_tokens, tell))


async def _bound(
    store: Store,
    run_id: str,
    config: Config,
    prompts: Sequence[OverRefusal],
    target_tokens: int,
    tell: Tell,
) -> Bounded:
    nodes = cluster.nodes()
    if not cluster.grows_unseen():
        hosting.require_room(config, nodes)
    cores = hosting.shared_cores(config, nodes)
    target = wiring.target_pool(config, cores)
    gating = wiring.gate_pools(config, cores)
    guarding = wiring.guard_pools(config, cores)
    charged = Account()
    try:
        embedder, description = await asyncio.gather(
            asyncio.to_thread(wiring.embedder, config), target.start()
        )
        target_id = _same_target(store, run_id, config, description)
        hosted = {
            name: (MeteredWorker(pool, charged), (await pool.start()).revision)
            for name, pool in gating.items()
        }
        boxes = await wiring.guard_boxes(guarding)
        gates = wiring.gates(config, embedder, hosted, boxes)
        prober = Prober(store, run_id, target_id, config, target, gates, embedder)
        settings = config.search
        limits = Limits(
            settings.samples.first,
            settings.samples.max,
            settings.threshold,
            target_tokens,
            config.target.sampling.max_tokens,
        )
        done = await find(prober, prompts, limits, _writer(store, run_id, target_id), tell)
    finally:
        for pool in (target, *gating.values(), *guarding.values()):
            if isinstance(pool, Pool):
                await pool.close()
    pairs = [search.pair for search in done if search.pair is not None]
    return Bounded(
        run=run_id,
        prompts=len(prompts),
        pairs=len(pairs),
        clear=sum(pair.clear for pair in pairs),
        cut_short=sum(search.cut_short for search in done),
        new_tokens=prober.new_tokens,
        target_tokens=sum(search.spent for search in done),
    )


def _same_target(store: Store, run_id: str, config: Config, description: EngineDescription) -> str:
    """The id of the run's target, which must be what has been started."""
    _, target_id = stored.target_of(store, run_id)
    started = Target.of(
        description,
        config.target.system_text,
        wiring.sampling(config.target.sampling),
        first_token=config.target.first_token_text,
    )
    if started.target_id != target_id:
        raise ConfigError(
            f"run {run_id}: the model {description.model} is not the one that the run asked "
            "(its weights or its chat template have changed); search it anew"
        )
    return target_id


def _writer(store: Store, run_id: str, target_id: str) -> Callable[[FoundPair, int], None]:
    def put(pair: FoundPair, tokens: int) -> None:
        stored.put_pairs(store, run_id, target_id, [row(pair, tokens)])

    return put


def row(pair: FoundPair, target_tokens: int) -> stored.Pair:
    """A pair as it is stored."""
    return stored.Pair(
        refused_prompt_id=pair.refused_id,
        answered_prompt_id=pair.answered_id,
        edit=tuple(
            {"start": e.start, "removed": list(e.removed), "inserted": list(e.inserted)}
            for e in pair.edits
        ),
        source=pair.source.value,
        n_words=pair.n_words,
        cosine=pair.cosine,
        refused_rate=pair.refused_rate.rate,
        refused_n=pair.refused_rate.n,
        answered_rate=pair.answered_rate.rate,
        answered_n=pair.answered_rate.n,
        clear=pair.clear,
        target_tokens=target_tokens,
    )
