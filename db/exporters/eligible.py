"""The one door through which prompts leave: what every safety gate of its run called harmless.

Knows what may be exported; knows nothing of formats and files. Every exporter gets its prompts here and
nowhere else. `db.exporters.matching` has the statement, `belongings` what belongs to a prompt.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, select

from db import alike, filters, lookup
from db import found as finding
from db.among import among
from db.exporters import belongings, matching
from db.exporters.belongings import CliffRow, Response, SeedRow, TargetRow
from db.exporters.matching import Counts
from db.found import RunFacts
from db.models import GateDecision
from db.orders import NOVEL_AMONG
from db.safety import HUMAN, combine, own_decisions
from fitness import types as fitness_types
from fitness.types import Safety
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store

# Prompts of a batch, and the characters of their responses from which on batches become smaller.
_LARGEST, _SMALLEST = 10_000, 100
_CHARACTERS = 32_000_000
SORTS = ("fitness", "refusal", "novelty")
# Patterns of decisions that are remembered; there are few, whatever the number of prompts.
_PATTERNS = 10_000


class Reads(Enum):
    """What a format reads besides the prompt."""

    RESPONSES = auto()
    CLIFFS = auto()


class Eligible(NamedTuple):
    """A prompt that may leave. `refusal` and `answer` are the target's own responses to it: the one
    that the run's first judge is surest is a refusal, and the one it is surest is none."""

    prompt_id: str
    prompt: str
    topic: str | None
    run: RunFacts
    strategy: str
    operator: str
    parents: tuple[str, ...]
    seed_id: str | None
    seed: SeedRow
    target: TargetRow
    judges: tuple[str, ...]  # name@version
    gates: tuple[str, ...]  # name@version:outcome
    embedder: str | None
    fitness: float
    refusal_rate: float
    refusal_low: float
    refusal_high: float
    n_samples: int
    refusal: Response | None = None
    answer: Response | None = None
    cliffs: tuple[CliffRow, ...] = ()


@contextlib.contextmanager
def select_eligible(
    store: Store,
    *,
    run: str | None = None,
    target: str | None = None,
    strategy: str | None = None,
    min_refusal: float | None = None,
    safety: str | None = None,
    like: str | None = None,
    sort: str = "fitness",
    limit: int | None = None,
    seeds: bool = False,
) -> Iterator[Selected]:
    """The prompts that may leave; the options are those of `evocliff query`.

    A prompt passes when every gate of its run called it harmless (a run without gates passes
    nothing), no gate of any run called it harmful, and its refusal rate reaches `min_refusal`,
    by default its run's threshold. What people said goes before all gates. The same prompt leaves
    once, as its best row by `sort`.

    Raises:
        ConfigError: an unknown run, target, strategy or order; `safety` is something else than
            harmless.
    """
    if safety not in (None, Safety.HARMLESS.value):
        raise ConfigError(f"--safety {safety}: only harmless prompts are exported")
    if sort not in SORTS:
        raise ConfigError(f"--sort {sort}: not one of {', '.join(SORTS)}")
    lookup.require_order(sort, limit)
    if min_refusal is not None:
        lookup.require_rate(min_refusal)
    options = {"run": run, "target": target, "strategy": strategy, "like": like}
    with store.reading() as connection:
        asked = matching.Asked(
            where=matching.conditions(
                connection,
                filters.Asked(run=run, target=target, strategy=strategy, like=like),
            ),
            min_refusal=min_refusal,
            sort=sort,
            seeds=seeds,
            is_limited=limit is not None,
        )
        given = tuple(f"--{name} {value}" for name, value in options.items() if value is not None)
        yield Selected(connection, asked, limit, given)


class Selected:
    """What may leave, in order, batch by batch, and how many prompts were stopped and why."""

    def __init__(
        self,
        connection: Connection,
        asked: matching.Asked,
        limit: int | None,
        filters: tuple[str, ...],
    ) -> None:
        self.connection = connection
        self.counts: Counts = matching.count(connection, asked)
        self._asked, self._limit, self._filters = asked, limit, filters
        self._door = _Door(finding.run_facts(connection))
        self.n = 0  # of the last walk through the batches
        self.merged = 0  # the same prompt in another run or on another target
        self.refused_at_the_door = 0  # some gate of another run called it harmful

    @property
    def not_harmless(self) -> int:
        return self.counts.not_harmless + self.refused_at_the_door

    @property
    def beyond_limit(self) -> int:
        if self._limit is None or self.n < self._limit:
            return 0
        return matching.count_prompts(self.connection, self._asked) - self.n

    def embedder(self) -> str | None:
        """The one that most of the prompts were embedded by."""
        return matching.embedder(self.connection, self._asked)

    def batches(self, reads: Collection[Reads] = ()) -> Iterator[list[Eligible]]:
        """The prompts, best first, in lists that hold a bounded number of characters. Each walk gives
        the same prompts in the same order."""
        self.n = self.merged = self.refused_at_the_door = 0
        size = [_SMALLEST]
        with matching.rows(self.connection, self._asked) as result:
            for passed in self._in_order(result, size):
                if self._limit is not None:
                    passed = passed[: self._limit - self.n]
                made = self._complete(passed, reads)
                self.n += len(made)
                if made:
                    yield made
                if self._limit is not None and self.n >= self._limit:
                    return
                size[0] = _next_size(size[0], made)

    def _in_order(self, result: Any, size: list[int]) -> Iterator[list[_Passed]]:
        """What passes the door, in lists of at most `size[0]`; by novelty the fittest come first, by
        how far they are from each other, and then the rest."""
        again: set[str] = set()
        if self._asked.sort == "novelty":
            fittest: list[_Passed] = []
            while len(fittest) < NOVEL_AMONG and (rows := result.fetchmany(NOVEL_AMONG)):
                fittest += self._passed(rows, again)
            distances = alike.novelty(
                self.connection, [(row.prompt_id, row.embedder) for row, _ in fittest]
            )
            # Those that were read beyond the fittest stay behind them: the sort is stable.
            fittest[:NOVEL_AMONG] = sorted(
                fittest[:NOVEL_AMONG],
                key=lambda one: (-distances.get(one[0].prompt_id, -math.inf), one[0].prompt_id),
            )
            for start in range(0, len(fittest), _SMALLEST):
                yield fittest[start : start + _SMALLEST]
        while rows := result.fetchmany(size[0]):
            yield self._passed(rows, again)

    def _passed(self, rows: Sequence[Any], again: set[str]) -> list[_Passed]:
        """The rows that the door lets through, each prompt once, with the votes."""
        decisions = _decisions(self.connection, {r.prompt_id for r in rows})
        passed = []
        for row in rows:
            if row.is_repeated and row.prompt_id in again:
                self.merged += 1
                continue
            votes = self._door.votes(row, decisions.get(row.prompt_id, ()))
            if votes is None:
                self.refused_at_the_door += 1
                continue
            if row.is_repeated:
                again.add(row.prompt_id)
            passed.append((row, votes))
        return passed

    def _complete(self, passed: Sequence[_Passed], reads: Collection[Reads]) -> list[Eligible]:
        rows = [row for row, _ in passed]
        facts = self._door.facts
        origins = belongings.origins(self.connection, rows)
        seeds = belongings.seeds(self.connection, {r.seed_prompt_id for r in rows})
        targets = belongings.targets(self.connection, {r.target_id for r in rows})
        judges = belongings.judges(self.connection, rows, facts)
        responses: belongings.Responses = {}
        if Reads.RESPONSES in reads:
            deciding = [
                (r.target_id, r.prompt_id, decider)
                for r, (decider, _) in zip(rows, judges, strict=True)
            ]
            responses = belongings.responses(self.connection, deciding)
        cliffs = belongings.cliffs(self.connection, rows) if Reads.CLIFFS in reads else {}
        nothing = (None, None)
        made = []
        for (row, votes), (_, names) in zip(passed, judges, strict=True):
            operator, parents = row.operator, row.parents
            if origins:
                origin = origins.get((row.run_id, row.prompt_id))
                operator, parents = origin or (operator, parents)
            of_target = (row.target_id, row.prompt_id)
            refusal, answer = responses.get(of_target, nothing) if responses else nothing
            made.append(
                Eligible(
                    row.prompt_id,
                    row.text,
                    row.topic,
                    facts[row.run_id],
                    row.strategy,
                    operator,
                    belongings.parents_of(parents),
                    row.seed_prompt_id,
                    seeds.get(row.seed_prompt_id, _NO_SEED),
                    targets[row.target_id],
                    names,
                    votes,
                    row.embedder,
                    row.fitness,
                    row.refusal_rate,
                    row.refusal_low,
                    row.refusal_high,
                    row.n_samples,
                    refusal,
                    answer,
                    cliffs.get(of_target, ()) if cliffs else (),
                )
            )
        return made

    def require_some(self) -> None:
        """After a walk: raise ConfigError, naming what to relax, when nothing could leave."""
        if self.n:
            return
        given, counts = ", ".join(self._filters), self.counts
        if not counts.matched:
            mend = f"matches {given}; relax it" if given else "is stored yet; run a search first"
            raise ConfigError(f"nothing to export: no evaluated prompt {mend}")
        if counts.matched == counts.seeds:
            raise ConfigError(
                f"nothing to export: all {counts.matched} matching prompts are seeds; add --seeds, "
                "or search further"
            )
        if counts.highest is None or self.refused_at_the_door:
            raise ConfigError(
                f"nothing to export: none of the {self.not_harmless} matching prompts is called "
                f"harmless by every gate; {f'relax {given}' if given else 'search further'}"
            )
        raise ConfigError(
            f"nothing to export: none of the {counts.below} harmless prompts is refused often enough "
            f"(the highest refusal rate is {counts.highest:.2f}); lower --min-refusal"
        )


_Passed = tuple[Any, tuple[str, ...]]  # a row of `matching.rows`, and its votes
_NO_SEED = SeedRow("", None, None)
_Pattern = tuple[tuple[str, str, str], ...]  # (gate, version, outcome) by gate and version


class _Door:
    """Asks the decisions themselves: nothing else stands between a prompt and the world. People win
    over gates, and all of them must agree."""

    def __init__(self, facts: dict[str, RunFacts]) -> None:
        self.facts = facts
        self._known: dict[tuple[str, str | None, _Pattern], tuple[str, ...] | None] = {}

    def votes(self, row: Any, pattern: _Pattern) -> tuple[str, ...] | None:
        """Who vouched for the prompt, as name@version:outcome; None when it must stay."""
        key = (row.run_id, row.gates, pattern)
        if key not in self._known:
            if len(self._known) >= _PATTERNS:
                self._known.clear()
            self._known[key] = self._asked(*key)
        return self._known[key]

    def _asked(self, run_id: str, stored: str | None, pattern: _Pattern) -> tuple[str, ...] | None:
        run_gates = self.facts[run_id].gates
        decisions = [
            fitness_types.GateDecision(gate, version, Safety(outcome), None)
            for gate, version, outcome in pattern
        ]
        own = own_decisions(stored, run_gates, decisions)
        people = tuple(d for d in decisions if d.gate.startswith(HUMAN))
        if people:
            passes = all(d.outcome is Safety.HARMLESS for d in people)
        else:
            spoken = {d.gate for d in own if d.outcome is Safety.HARMLESS}
            passes = (
                combine(run_gates, own, people) is Safety.HARMLESS
                and not any(d.outcome is Safety.HARMFUL for d in decisions)
                and bool(run_gates)
                and spoken >= set(run_gates)
            )
        if not passes:
            return None
        return tuple(f"{d.gate}@{d.version}:{d.outcome.value}" for d in (*own, *people))


def _decisions(connection: Connection, prompt_ids: Collection[str]) -> dict[str, _Pattern]:
    said: dict[str, _Pattern] = {}
    rows = connection.execute(
        select(
            GateDecision.prompt_id, GateDecision.gate, GateDecision.version, GateDecision.outcome
        )
        .where(among(connection, GateDecision.prompt_id, prompt_ids))
        .order_by(GateDecision.prompt_id, GateDecision.gate, GateDecision.version)
    )
    for prompt_id, gate, version, outcome in rows.all():
        said[prompt_id] = (*said.get(prompt_id, ()), (gate, version, outcome))
    return said


def _next_size(size: int, made: Sequence[Eligible]) -> int:
    """Larger while responses are short, smaller where they are long."""
    characters = sum([len(e.prompt) for e in made])
    characters += sum([len(e.refusal.text) for e in made if e.refusal is not None])
    characters += sum([len(e.answer.text) for e in made if e.answer is not None])
    characters += sum(len(c.reasoning or "") + len(c.response) for e in made for c in e.cliffs)
    fitting = size * 4 if not characters else min(size * 4, size * _CHARACTERS // characters)
    return max(_SMALLEST, min(_LARGEST, fitting))
