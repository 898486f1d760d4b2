"""The one door through which prompts leave: what every safety gate of its run called harmless.

Knows what may be exported; knows nothing of formats and files. Every exporter gets its prompts here and
nowhere else. `db.exporters.matching` has the statement, `belongings` what belongs to a prompt.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection

from db import alike, filters, lookup, written
from db import found as finding
from db.exporters import belongings, matching
from db.exporters.belongings import CliffRow, SeedRow, TargetRow
from db.exporters.door import Door
from db.exporters.matching import Counts, Matching
from db.exporters.responses import Response, responses
from db.found import RunFacts
from db.orders import NOVEL_AMONG
from fitness.types import Safety
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store

# Prompts of a batch, and the characters of their responses from which on batches become smaller.
_LARGEST, _SMALLEST = 10_000, 100
_CHARACTERS = 32_000_000
SORTS = ("fitness", "refusal", "novelty")
CHOSEN = ("best", "written", "own")


class Reads(Enum):
    """What a format reads besides the prompt."""

    RESPONSES = auto()
    CLIFFS = auto()
    PAIRS = auto()  # of written responses


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
    pairs: tuple[written.Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompts:
    """A batch of prompts that may leave, as columns: the fields of `Eligible`, each a value a prompt.
    Walking through it gives them one by one."""

    prompt_id: Sequence[str]
    prompt: Sequence[str]
    topic: Sequence[str | None]
    run: Sequence[RunFacts]
    strategy: Sequence[str]
    operator: Sequence[str]
    parents: Sequence[tuple[str, ...]]
    seed_id: Sequence[str | None]
    seed: Sequence[SeedRow]
    target: Sequence[TargetRow]
    judges: Sequence[tuple[str, ...]]
    gates: Sequence[tuple[str, ...]]
    embedder: Sequence[str | None]
    fitness: Sequence[float]
    refusal_rate: Sequence[float]
    refusal_low: Sequence[float]
    refusal_high: Sequence[float]
    n_samples: Sequence[int]
    refusal: Sequence[Response | None]
    answer: Sequence[Response | None]
    cliffs: Sequence[tuple[CliffRow, ...]]
    pairs: Sequence[tuple[written.Pair, ...]]

    def __len__(self) -> int:
        return len(self.prompt_id)

    def __iter__(self) -> Iterator[Eligible]:
        return map(Eligible, *(getattr(self, field.name) for field in fields(self)))

    def at(self, places: Sequence[int]) -> Prompts:
        """The prompts at these places, in their order."""
        columns = (getattr(self, field.name) for field in fields(self))
        return Prompts(*([column[place] for place in places] for column in columns))


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
    chosen: str = "best",
) -> Iterator[Selected]:
    """The prompts that may leave; the options are those of `evocliff query`.

    A prompt passes when every gate of its run called it harmless (a run without gates passes
    nothing), no gate of any run called it harmful, and its refusal rate reaches `min_refusal`,
    by default its run's threshold. What people said goes before all gates. The same prompt leaves
    once, as its best row by `sort`. `chosen` says whose answers go along: `best`, what `evocliff write`
    wrote, else the target's own; `written` or `own` alone.

    Raises:
        ConfigError: an unknown run, target, strategy or order; `safety` is something else than
            harmless.
    """
    if safety not in (None, Safety.HARMLESS.value):
        raise ConfigError(f"--safety {safety}: only harmless prompts are exported")
    if sort not in SORTS:
        raise ConfigError(f"--sort {sort}: not one of {', '.join(SORTS)}")
    if chosen not in CHOSEN:
        raise ConfigError(f"--chosen {chosen}: not one of {', '.join(CHOSEN)}")
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
            is_narrow=any(value is not None for value in options.values()),
            by_text=like is not None,
        )
        given = tuple(f"--{name} {value}" for name, value in options.items() if value is not None)
        yield Selected(connection, asked, limit, given, chosen)


class Selected:
    """What may leave, in order, batch by batch, and how many prompts were stopped and why."""

    def __init__(
        self,
        connection: Connection,
        asked: matching.Asked,
        limit: int | None,
        filters: tuple[str, ...],
        chosen: str = "best",
    ) -> None:
        self.connection = connection
        self._chosen = chosen
        self._is_written = chosen != "own" and written.is_any(connection)
        self.counts: Counts = matching.count(connection, asked)
        self._asked, self._limit, self._filters = asked, limit, filters
        self._door = Door(finding.run_facts(connection))
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

    def batches(self, reads: Collection[Reads] = ()) -> Iterator[Prompts]:
        """The prompts, best first, in batches that hold a bounded number of characters. Each walk gives
        the same prompts in the same order."""
        self.n = self.merged = self.refused_at_the_door = 0
        size = [_SMALLEST]
        with matching.rows(self.connection, self._asked) as result:
            for passed in self._in_order(result, size):
                if self._limit is not None:
                    passed = passed[: self._limit - self.n]
                if passed:
                    made = self._complete(passed, reads)
                    self.n += len(made)
                    yield made
                    size[0] = _next_size(size[0], made)
                if self._limit is not None and self.n >= self._limit:
                    return

    def _in_order(self, result: Any, size: list[int]) -> Iterator[list[_Passed]]:
        """What passes the door, in lists of at most `size[0]`; by novelty the fittest come first, by
        how far they are from each other, and then the rest."""
        again: set[str] = set()
        if self._asked.sort == "novelty":
            fittest: list[_Passed] = []
            while len(fittest) < NOVEL_AMONG and (rows := result.fetchmany(NOVEL_AMONG)):
                fittest += self._passed(rows, again)
            distances = alike.novelty(
                self.connection,
                [(m.prompt_id, m.embedder) for m in (Matching(*row) for row, _ in fittest)],
            )
            # Those that were read beyond the fittest stay behind them: the sort is stable.
            fittest[:NOVEL_AMONG] = sorted(
                fittest[:NOVEL_AMONG],
                key=lambda one: (-distances.get(one[0][0], -math.inf), one[0][0]),
            )
            for start in range(0, len(fittest), _SMALLEST):
                yield fittest[start : start + _SMALLEST]
        while rows := result.fetchmany(size[0]):
            yield self._passed(rows, again)

    def _passed(self, rows: Sequence[Any], again: set[str]) -> list[_Passed]:
        """The rows that the door lets through, each prompt once, with the votes."""
        passed = []
        asked = self._door.votes
        for row in rows:
            prompt_id, run_id, gates, decisions, is_repeated = row[: matching.N_KEYS]
            if is_repeated and prompt_id in again:
                self.merged += 1
                continue
            votes = asked(run_id, gates, decisions)
            if votes is None:
                self.refused_at_the_door += 1
                continue
            if is_repeated:
                again.add(prompt_id)
            passed.append((row, votes))
        return passed

    def _complete(self, passed: Sequence[_Passed], reads: Collection[Reads]) -> Prompts:
        """The batch with what belongs to its prompts."""
        rows, votes = zip(*passed, strict=True)
        m = Matching(*zip(*rows, strict=True))
        connection, facts, n = self.connection, self._door.facts, len(rows)
        seeds = belongings.seeds(connection, set(m.seed_prompt_id))
        targets = belongings.targets(connection, set(m.target_id))
        deciders, names = belongings.judges(connection, m, facts)
        operators, parents = belongings.origins(connection, m)
        refusals: Sequence[Response | None] = [None] * n
        answers: Sequence[Response | None] = refusals
        if Reads.RESPONSES in reads:
            refusals, answers = responses(connection, m.target_id, m.prompt_id, deciders)
            answers = self._answers(m.prompt_id, answers)
        cliffs: Sequence[tuple[CliffRow, ...]] = [()] * n
        if Reads.CLIFFS in reads:
            cliffs = belongings.cliffs(connection, m.target_id, m.prompt_id)
        pairs: Sequence[tuple[written.Pair, ...]] = [()] * n
        if Reads.PAIRS in reads and written.is_any(connection):
            known = written.pairs(connection, m.prompt_id)
            pairs = [tuple(known.get(prompt_id, ())) for prompt_id in m.prompt_id]
        return Prompts(
            prompt_id=m.prompt_id,
            prompt=m.text,
            topic=m.topic,
            run=[facts[run_id] for run_id in m.run_id],
            strategy=m.strategy,
            operator=operators,
            parents=parents,
            seed_id=m.seed_prompt_id,
            seed=[seeds.get(seed or "", _NO_SEED) for seed in m.seed_prompt_id],
            target=[targets[target_id] for target_id in m.target_id],
            judges=names,
            gates=votes,
            embedder=m.embedder,
            fitness=m.fitness,
            refusal_rate=m.refusal_rate,
            refusal_low=m.refusal_low,
            refusal_high=m.refusal_high,
            n_samples=m.n_samples,
            refusal=refusals,
            answer=answers,
            cliffs=cliffs,
            pairs=pairs,
        )

    def _answers(
        self, prompt_ids: Sequence[str], own: Sequence[Response | None]
    ) -> Sequence[Response | None]:
        """The answers that go along: written ones, or the target's own."""
        best = written.best(self.connection, prompt_ids) if self._is_written else {}
        made: list[Response | None] = []
        for prompt_id, answer in zip(prompt_ids, own, strict=True):
            found = best.get(prompt_id)
            if found is not None:
                made.append(
                    Response(None, found.text, found.finish_reason, found.p_refusal, found.writer)
                )
            else:
                made.append(None if self._chosen == "written" else answer)
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


def _next_size(size: int, made: Prompts) -> int:
    """Larger while responses are short, smaller where they are long."""
    characters = sum(map(len, made.prompt))
    for column in (made.refusal, made.answer):
        characters += sum([len(each.text) for each in column if each is not None])
    characters += sum(
        len(c.reasoning or "") + len(c.response) for each in made.cliffs for c in each
    )
    fitting = size * 4 if not characters else min(size * 4, size * _CHARACTERS // characters)
    return max(_SMALLEST, min(_LARGEST, fitting))
