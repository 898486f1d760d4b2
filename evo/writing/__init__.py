"""Responses worth training on: a writer's answers to over-refused prompts, scored, the best to be chosen.

An edge between engines, scorers and the store. Every response and every score is stored before it is used, so
that a command that was killed writes nothing twice and asks nothing twice. Only prompts that may be exported
are written for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from db import written
from db.exporters.eligible import select_eligible
from db.written import Written
from evo.mitigation.data import whole
from evo.writing import chain
from evo.writing.chain import Chain
from evo.writing.scorers import Scorer
from fitness.constructive import Scored
from workers.interface import (
    ConfigError,
    Engine,
    Failure,
    Generation,
    GenerationRequest,
    Message,
    Sampling,
)

if TYPE_CHECKING:
    from db.store import Store

BATCH = 32  # prompts between two transactions
_PLANNING = Sampling(temperature=0.0, top_p=1.0, max_tokens=400)


@dataclass(frozen=True, slots=True)
class Wished:
    """`candidates`: answers to each prompt; `rounds` of advice to better the best of them (0: none)."""

    candidates: int = 4
    rounds: int = 0
    max_tokens: int = 200
    temperature: float = 0.7
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`chosen`: prompts with a response that may be chosen; `without`: why the others have none."""

    prompts: int
    written: int
    new: int
    scored: int
    chosen: int
    without: dict[str, int]
    bettered: int


Told = Callable[[int, int], None]  # prompts done, prompts in all


async def write(
    store: Store,
    run: str,
    writer: Engine,
    name: str,
    scorer: Scorer,
    wished: Wished,
    tell: Told = lambda done, of: None,
) -> Outcome:
    """Write, score and better responses to the over-refusals of a run.

    Args:
        name: what the writer is called in the record.

    Raises:
        ConfigError: no such run, or nothing may leave.
        EngineDied: the writer can go on no longer; what was written is stored.
    """
    prompts = over_refused(store, run, wished.limit)
    if not prompts:
        raise ConfigError(f"--run {run}: holds no over-refusal that may leave")
    work = _Work(store, writer, name, scorer, wished)
    new = bettered = 0
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        new += await work.candidates(part)
        for number in range(1, wished.rounds + 1):
            more, better = await work.better(part, number)
            new, bettered = new + more, bettered + better
        tell(start + len(part), len(prompts))
    return work.outcome(prompts, new, bettered)


def over_refused(store: Store, run: str, limit: int | None) -> list[tuple[str, str]]:
    """(Prompt id, prompt) of the over-refusals of a run that may leave, best first.

    Raises:
        ConfigError: no such run.
    """
    with select_eligible(store, run=run, limit=limit) as selected:
        return [(e.prompt_id, e.prompt) for prompts in selected.batches() for e in prompts]


class _Work:
    def __init__(
        self, store: Store, writer: Engine, name: str, scorer: Scorer, wished: Wished
    ) -> None:
        self._store, self._writer, self._name = store, writer, name
        self._scorer, self._wished = scorer, wished
        self._sampling = Sampling(wished.temperature, 1.0, 0, wished.max_tokens)
        about = f"{wished.temperature} {wished.max_tokens} {wished.seed}"
        digest = sha256(about.encode()).hexdigest()[:8]
        self._version = f"{chain.PROMPT_VERSION}.{writer.description.revision[:16]}.{digest}"

    async def candidates(self, prompts: Sequence[tuple[str, str]]) -> int:
        """Answers written at once, up to the wished number; how many are new."""
        known = self._read(prompts)
        requests = []
        for prompt_id, prompt in prompts:
            have = sum(w.round == 0 for w in known.get(prompt_id, []))
            if have < self._wished.candidates:
                requests.append(self._request(prompt_id, chain.write_messages(prompt), have))
        made: list[Written] = []
        for request, reply in zip(requests, await self._ask(requests), strict=True):
            if isinstance(reply, Failure):
                continue
            for n, sample in enumerate(reply.samples, request.first_index):
                made.append(self._written(request.key, 0, n, sample.text, sample.finish_reason))
        written.record(self._store, made)
        await self._score(prompts)
        return len(made)

    async def better(self, prompts: Sequence[tuple[str, str]], number: int) -> tuple[int, int]:
        """One round of advice on the best answer so far: how many were written, how many are better."""
        known, said = self._read(prompts), self._scores(prompts)
        work: list[tuple[str, str, Written, Scored]] = []
        for prompt_id, prompt in prompts:
            own = known.get(prompt_id, [])
            if any(w.round == number for w in own):
                continue  # an earlier life wrote it
            top = _top([w for w in own if w.round < number], said)
            if top is not None and not said[top.written_id].is_best:
                work.append((prompt_id, prompt, top, said[top.written_id]))
        plans = await self._plans([(prompt, top) for _, prompt, top, _ in work])
        planned = [(w, p) for w, p in zip(work, plans, strict=True) if p is not None]
        revised = await self._revised([(w[1], p, w[3].advice) for w, p in planned])
        following = [
            (w, new) for (w, _), new in zip(planned, revised, strict=True) if new is not None
        ]
        requests = [
            self._request(w[0], chain.write_messages(w[1], new), number - 1, 1)
            for w, new in following
        ]
        made: list[Written] = []
        for (w, new), reply in zip(following, await self._ask(requests), strict=True):
            if not isinstance(reply, Failure):
                sample = reply.samples[0]
                made.append(
                    self._written(
                        w[0], number, 0, sample.text, sample.finish_reason, w[2].written_id, new
                    )
                )
        written.record(self._store, made)
        await self._score(prompts)
        after = self._scores(prompts)
        better = sum(
            _value(after.get(m.written_id)) > _value(after.get(m.parent_id or "")) for m in made
        )
        return len(made), better

    def outcome(self, prompts: Sequence[tuple[str, str]], new: int, bettered: int) -> Outcome:
        known, said = self._read(prompts), self._scores(prompts)
        with self._store.reading() as connection:
            chosen = written.best(connection, [prompt_id for prompt_id, _ in prompts])
        without: dict[str, int] = {}
        for prompt_id, _ in prompts:
            if prompt_id not in chosen:
                reason = _why_not([said.get(w.written_id) for w in known.get(prompt_id, [])])
                without[reason] = without.get(reason, 0) + 1
        return Outcome(
            len(prompts),
            sum(map(len, known.values())),
            new,
            sum(s.score is not None for s in said.values()),
            len(chosen),
            without,
            bettered,
        )

    async def _score(self, prompts: Sequence[tuple[str, str]]) -> None:
        """Whatever has no score by this scorer gets one."""
        said = self._scores(prompts)
        text_of = dict(prompts)
        open_ = [w for own in self._read(prompts).values() for w in own if w.written_id not in said]
        found = await self._scorer.score([(text_of[w.prompt_id], w.text) for w in open_])
        pairs = [(w.written_id, s) for w, s in zip(open_, found, strict=True)]
        written.record_scores(self._store, pairs)

    async def _plans(self, work: Sequence[tuple[str, Written]]) -> list[Chain | None]:
        """The plan behind each response: its own, or one that is asked for; None: no plan was given."""
        asked = [n for n, (_, top) in enumerate(work) if top.chain is None]
        requests = [self._planning(f"plan {n}", chain.plan_messages(work[n][0])) for n in asked]
        told = dict(zip(asked, await self._ask(requests), strict=True))
        made: list[Chain | None] = []
        for n, (_, top) in enumerate(work):
            if top.chain is not None:
                made.append(chain.parse(top.chain))
                continue
            reply = told[n]
            made.append(None if isinstance(reply, Failure) else chain.parse(reply.samples[0].text))
        return made

    async def _revised(self, work: Sequence[tuple[str, Chain, str]]) -> list[Chain | None]:
        requests = [
            self._planning(f"revise {n}", chain.revise_messages(prompt, plan, [advice]))
            for n, (prompt, plan, advice) in enumerate(work)
        ]
        made: list[Chain | None] = []
        for (_, plan, _), reply in zip(work, await self._ask(requests), strict=True):
            new = None if isinstance(reply, Failure) else chain.parse(reply.samples[0].text)
            made.append(None if new is None else chain.revised(plan, new))
        return made

    async def _ask(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return list(await self._writer.generate(requests)) if requests else []

    def _request(
        self, prompt_id: str, messages: tuple[Message, ...], first: int, n: int | None = None
    ) -> GenerationRequest:
        return GenerationRequest(
            key=prompt_id,
            messages=messages,
            n_samples=n or self._wished.candidates - first,
            sampling=self._sampling,
            seed=self._wished.seed,
            first_index=first,
        )

    def _planning(self, key: str, messages: tuple[Message, ...]) -> GenerationRequest:
        return GenerationRequest(key, messages, 1, _PLANNING, self._wished.seed)

    def _written(
        self,
        prompt_id: str,
        number_of_round: int,
        number: int,
        text: str,
        finish_reason: str,
        parent: str | None = None,
        plan: Chain | None = None,
    ) -> Written:
        return Written(
            prompt_id,
            self._name,
            self._version,
            number_of_round,
            number,
            # An answer that the limit cut would teach a model to stop in mid-word.
            text if finish_reason == "stop" else whole(text),
            finish_reason,
            parent,
            None if plan is None else plan.as_json(),
        )

    def _read(self, prompts: Sequence[tuple[str, str]]) -> dict[str, list[Written]]:
        return written.read(self._store, [p for p, _ in prompts], self._name, self._version)

    def _scores(self, prompts: Sequence[tuple[str, str]]) -> dict[str, Scored]:
        ids = [w.written_id for own in self._read(prompts).values() for w in own]
        return written.scores(self._store, ids, self._scorer.name, self._scorer.version)


def _value(said: Scored | None) -> float:
    return -1.0 if said is None or said.score is None else said.score


def _top(own: Sequence[Written], said: dict[str, Scored]) -> Written | None:
    """The best scored of these; None: none was scored."""
    scored = [w for w in own if _value(said.get(w.written_id)) >= 0.0]
    return max(scored, key=lambda w: (_value(said[w.written_id]), -w.number), default=None)


def _why_not(said: Sequence[Scored | None]) -> str:
    """Why a prompt has no response that may be chosen."""
    if not said:
        return "nothing was written"
    known = [s for s in said if s is not None]
    if all(s.score is None for s in known):
        return "no response could be scored"
    if all(s.p_refusal is not None and s.p_refusal >= 0.5 for s in known if s.score is not None):
        return "the writer refuses it"
    if any(s.safety == 0.0 for s in known):
        return "what was written is unsafe"
    return "what was written helps too little"


def write_now(
    store: Store,
    run: str,
    writer: Engine,
    name: str,
    scorer: Scorer,
    wished: Wished,
    tell: Told = lambda done, of: None,
) -> Outcome:
    """The blocking form of `write`; closes the writer."""

    async def all_of_it() -> Outcome:
        try:
            return await write(store, run, writer, name, scorer, wished, tell)
        finally:
            await writer.close()

    return asyncio.run(all_of_it())
