"""The one door through which prompts leave: what every safety gate of its run called harmless.

Knows what may be exported and what belongs to it (seed, target, responses); knows nothing of
formats and files. Every exporter gets its prompts here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from db import found as finding
from db import lookup
from db.found import Found
from db.models import Prompt, Target
from fitness.types import JudgedSample, Safety, Score
from workers.interface import ConfigError, Sample

if TYPE_CHECKING:
    from db.store import Store

_CHUNK = 500
# From this probability on, the run's first judge calls a response a refusal.
_IS_REFUSAL = 0.5


@dataclass(frozen=True, slots=True)
class SeedRow:
    """Where a prompt descends from."""

    text: str
    source: str | None
    licence: str | None


@dataclass(frozen=True, slots=True)
class TargetRow:
    """The model that refused the prompt."""

    target_id: str
    model: str
    revision: str
    adapter: str | None
    system_prompt: str | None
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Eligible:
    """A prompt that may leave. `refusal` and `answer` are the target's own responses to it: the one
    that the run's first judge is surest is a refusal, and the one it is surest is none."""

    found: Found
    score: Score
    seed: SeedRow
    target: TargetRow
    judges: tuple[str, ...]  # name@version
    gates: tuple[str, ...]  # name@version:outcome
    refusal: Sample | None
    answer: Sample | None


@dataclass(frozen=True, slots=True)
class Selected:
    """What may leave, in order, and how many prompts were stopped on the way and why."""

    eligible: tuple[Eligible, ...]
    matched: int  # evaluated prompts that the filters of the query let through
    seeds: int
    not_harmless: int
    below: int  # refused too seldom
    merged: int  # the same prompt in another run or on another target
    beyond_limit: int
    highest: float | None  # refusal rate among the harmless ones
    filters: tuple[str, ...]  # the options that were given

    def require_some(self) -> None:
        """Raise ConfigError, naming what to relax, when there is nothing."""
        if self.eligible:
            return
        given = ", ".join(self.filters)
        if not self.matched:
            mend = f"matches {given}; relax it" if given else "is stored yet; run a search first"
            raise ConfigError(f"nothing to export: no evaluated prompt {mend}")
        if self.matched == self.seeds:
            raise ConfigError(
                f"nothing to export: all {self.matched} matching prompts are seeds; add --seeds, "
                "or search further"
            )
        if self.highest is None:
            raise ConfigError(
                f"nothing to export: none of the {self.not_harmless} matching prompts is called "
                f"harmless by every gate of its run; {f'relax {given}' if given else 'search further'}"
            )
        raise ConfigError(
            f"nothing to export: none of the {self.below} harmless prompts is refused often enough "
            f"(the highest refusal rate is {self.highest:.2f}); lower --min-refusal"
        )


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
) -> Selected:
    """The prompts that may leave; the options are those of `db.queries.query`.

    A prompt passes when every gate of its run called it harmless (a run without gates passes
    nothing), no gate of any run called it harmful, and its refusal rate reaches `min_refusal`,
    by default its run's threshold. The same prompt leaves once, as its best row by `sort`.

    Raises:
        ConfigError: as `db.queries.query`; or `safety` is something else than harmless.
    """
    if safety not in (None, Safety.HARMLESS.value):
        raise ConfigError(f"--safety {safety}: only harmless prompts are exported")
    lookup.require_order(sort, limit)
    options = {"run": run, "target": target, "strategy": strategy, "like": like}
    with store.reading() as connection:
        matched = finding.select_found(
            connection, run=run, target=target, strategy=strategy, like=like
        )
        if min_refusal is not None:
            lookup.require_rate(min_refusal)
        candidates = [f for f in matched if seeds or not f.is_seed]
        harmless = [f for f in candidates if _is_harmless(f)]
        refused = [(f, s) for f in harmless if (s := f.score) and _is_refused(f, s, min_refusal)]
        novelty = finding.novelty(connection, [f for f, _ in refused]) if sort == "novelty" else {}
        scores = {id(f): s for f, s in refused}
        once: dict[str, Found] = {}
        for found in finding.ordered([f for f, _ in refused], sort, novelty):
            once.setdefault(found.prompt_id, found)
        chosen = list(once.values())[:limit]
        eligible = _complete(connection, [(f, scores[id(f)]) for f in chosen])
    rates = [f.score.refusal_rate for f in harmless if f.score]
    return Selected(
        eligible=tuple(eligible),
        matched=len(matched),
        seeds=len(matched) - len(candidates),
        not_harmless=len(candidates) - len(harmless),
        below=len(harmless) - len(refused),
        merged=len(refused) - len(once),
        beyond_limit=len(once) - len(chosen),
        highest=max(rates, default=None),
        filters=tuple(f"--{name} {value}" for name, value in options.items() if value is not None),
    )


def _is_harmless(found: Found) -> bool:
    """Asked again here, and of the decisions themselves: nothing else stands between a prompt and
    the world. People win over gates, and all of them must agree."""
    if found.people:
        return all(d.outcome is Safety.HARMLESS for d in found.people)
    spoken = {d.gate for d in found.gates if d.outcome is Safety.HARMLESS}
    return (
        found.safety is Safety.HARMLESS
        and not found.disputed
        and bool(found.run.gates)
        and spoken >= set(found.run.gates)
    )


def _is_refused(found: Found, score: Score, min_refusal: float | None) -> bool:
    return score.refusal_rate >= (found.run.threshold if min_refusal is None else min_refusal)


def _complete(connection: Connection, chosen: Sequence[tuple[Found, Score]]) -> list[Eligible]:
    found = [f for f, _ in chosen]
    samples = finding.judged_samples(connection, found)
    seeds = _seeds(connection, {f.seed_prompt_id for f in found if f.seed_prompt_id})
    targets = _targets(connection, {f.target_id for f in found if f.target_id})
    made = []
    for f, score in chosen:
        judged = samples.get((f.target_id or "", f.prompt_id), [])
        refusal, answer = _responses(f, judged)
        made.append(
            Eligible(
                found=f,
                score=score,
                seed=seeds.get(f.seed_prompt_id or "", SeedRow("", None, None)),
                target=targets[f.target_id or ""],
                judges=_judges(f, judged),
                gates=tuple(
                    f"{d.gate}@{d.version}:{d.outcome.value}" for d in (*f.gates, *f.people)
                ),
                refusal=refusal,
                answer=answer,
            )
        )
    return made


def _judges(found: Found, samples: Sequence[JudgedSample]) -> tuple[str, ...]:
    """The run's judges as name@version; a version that was not stored is taken from the verdicts."""
    said = sorted({(v.judge, v.version) for s in samples for v in s.verdicts})
    names = []
    for name, version in found.judges:
        versions = [version] if version else [v for judge, v in said if judge == name]
        names += [f"{name}@{v}" for v in versions]
    return tuple(names)


def _responses(
    found: Found, samples: Sequence[JudgedSample]
) -> tuple[Sample | None, Sample | None]:
    """The surest refusal and the surest answer; where two are as sure, a finished one, then the first."""
    scored = [
        (p, judged.sample)
        for judged in samples
        if judged.sample.text.strip() and (p := _p_refusal(found, judged)) is not None
    ]

    def later(sample: Sample) -> tuple[bool, int]:
        return (sample.finish_reason != "stop", sample.index)

    refusals = sorted(
        ((-p, *later(s), s) for p, s in scored if p >= _IS_REFUSAL), key=lambda r: r[:3]
    )
    answers = sorted(((p, *later(s), s) for p, s in scored if p < _IS_REFUSAL), key=lambda r: r[:3])
    return (refusals[0][-1] if refusals else None, answers[0][-1] if answers else None)


def _p_refusal(found: Found, judged: JudgedSample) -> float | None:
    """What the judge that decided in the run said; of several versions the last one that scored."""
    if not found.judges:
        return None
    decider, version = found.judges[0]
    said = [
        v.p_refusal
        for v in judged.verdicts
        if v.judge == decider and version in (None, v.version) and v.p_refusal is not None
    ]
    return said[-1] if said else None


def _seeds(connection: Connection, prompt_ids: set[str]) -> dict[str, SeedRow]:
    rows: dict[str, SeedRow] = {}
    wanted = sorted(prompt_ids)
    for start in range(0, len(wanted), _CHUNK):
        for r in connection.execute(
            select(Prompt.__table__).where(Prompt.prompt_id.in_(wanted[start : start + _CHUNK]))
        ):
            rows[r.prompt_id] = SeedRow(r.text, r.source, r.licence)
    return rows


def _targets(connection: Connection, target_ids: set[str]) -> Mapping[str, TargetRow]:
    names: list[Any] = [getattr(Target, name) for name in TargetRow.__dataclass_fields__]
    rows = connection.execute(select(*names).where(Target.target_id.in_(sorted(target_ids))))
    return {r.target_id: TargetRow(*r) for r in rows}
