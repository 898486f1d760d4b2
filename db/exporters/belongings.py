"""What belongs to prompts that may leave: seed, target, parents, judges, responses, cliffs. Read a batch
at a time. Knows tables; decides which response is the surest refusal, and nothing of who may leave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, select

from db.among import among
from db.exporters import matching
from db.found import RunFacts
from db.models import Cliff, Prompt, PromptSource, Proposal, Sample, Target, Verdict
from db.rows import pairs
from evo.types import RESAMPLE

# From this probability on, the run's first judge calls a response a refusal.
_IS_REFUSAL = 0.5


class SeedRow(NamedTuple):
    """Where a prompt descends from."""

    text: str
    source: str | None
    licence: str | None


class TargetRow(NamedTuple):
    """The model that refused the prompt."""

    target_id: str
    model: str
    revision: str
    adapter: str | None
    system_prompt: str | None
    temperature: float
    top_p: float
    max_tokens: int


class Response(NamedTuple):
    """What a target said, and how probable it is that this is a refusal."""

    sample: int  # its index
    text: str
    finish_reason: str
    p_refusal: float


class CliffRow(NamedTuple):
    """A cliff of one sample, with what the target thought and said."""

    sample_index: int
    reasoning: str | None
    response: str
    probe: str
    version: str
    plateau: float
    plateau_top: float | None
    final: float
    cliff: float
    position: int | None
    n_tokens: int
    kind: str
    scores: bytes | None


Decider = tuple[str, str | None]  # the judge that decides, and its version where it is known
Responses = dict[tuple[str, str], tuple[Response | None, Response | None]]


def seeds(connection: Connection, prompt_ids: Collection[str | None]) -> dict[str, SeedRow]:
    """Seeds by prompt id; source and licence of an import stand in for those that a seed lacks."""
    wanted = sorted(p for p in prompt_ids if p)
    if not wanted:
        return {}
    found = {
        row.prompt_id: SeedRow(row.text, row.source, row.licence)
        for row in connection.execute(
            select(Prompt.prompt_id, Prompt.text, Prompt.source, Prompt.licence).where(
                among(connection, Prompt.prompt_id, wanted)
            )
        )
    }
    lacking = [p for p, seed in found.items() if seed.source is None or seed.licence is None]
    for row in connection.execute(
        select(PromptSource.prompt_id, PromptSource.source, PromptSource.licence)
        .where(among(connection, PromptSource.prompt_id, lacking))
        .order_by(PromptSource.prompt_id, PromptSource.source, PromptSource.row_key)
    ):
        seed = found[row.prompt_id]
        if seed.source in (None, row.source):
            found[row.prompt_id] = SeedRow(seed.text, row.source, seed.licence or row.licence)
    return found


def targets(connection: Connection, target_ids: Collection[str]) -> dict[str, TargetRow]:
    names: list[Any] = [getattr(Target, name) for name in TargetRow._fields]
    rows = connection.execute(select(*names).where(among(connection, Target.target_id, target_ids)))
    return {row.target_id: TargetRow(*row) for row in rows}


def origins(connection: Connection, rows: Sequence[Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """(run, prompt) -> operator and parents by which a prompt came that was sampled again."""
    again = [r.prompt_id for r in rows if r.operator == RESAMPLE]
    if not again:
        return {}
    found = connection.execute(
        select(
            Proposal.run_id,
            Proposal.prompt_id,
            Proposal.operator,
            matching.parents(Proposal.run_id, Proposal.proposal_index).label("parents"),
        )
        .where(
            among(connection, Proposal.prompt_id, again),
            Proposal.status == "evaluated",
            Proposal.operator != RESAMPLE,
        )
        .order_by(Proposal.proposal_index.desc())
    )
    return {(r.run_id, r.prompt_id): (r.operator, r.parents) for r in found}


def parents_of(column: str | None) -> tuple[str, ...]:
    """Prompt ids in order of position, from what `matching.parents` gives.

    >>> parents_of("1:b 0:a")
    ('a', 'b')
    """
    if column is None:
        return ()
    if " " not in column:  # as a rule
        return (column.partition(":")[2],)
    placed = [parent.partition(":") for parent in column.split(" ")]
    placed.sort(key=lambda part: int(part[0]))
    return tuple(prompt_id for _, _, prompt_id in placed)


def judges(
    connection: Connection, rows: Sequence[Any], facts: Mapping[str, RunFacts]
) -> list[tuple[Decider | None, tuple[str, ...]]]:
    """For each row the judge that decides, and all as name@version in the run's order; a version that
    was not stored is taken from the verdicts."""
    known: dict[tuple[str, str | None], tuple[Decider | None, tuple[str, ...]] | None] = {}
    unversioned = [r for r in rows if r.judges is None]
    said = _said(connection, unversioned)
    found = []
    for row in rows:
        key = (row.run_id, row.judges)
        names: Sequence[Decider] = ()
        if row.judges is None:
            names = [(name, None) for name in facts[row.run_id].judges]
            there = said.get((row.target_id, row.prompt_id), set())
            shown = [f"{j}@{v}" for name, _ in names for j, v in sorted(there) if j == name]
            found.append((names[0] if names else None, tuple(shown)))
            continue
        if key not in known:
            order = facts[row.run_id].judges
            names = sorted(
                pairs(row.judges),
                key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order),
            )
            known[key] = (names[0] if names else None, tuple(f"{j}@{v}" for j, v in names))
        found.append(known[key] or (None, ()))
    return found


def _said(
    connection: Connection, rows: Sequence[Any]
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    said: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    if rows:
        for v in connection.execute(
            select(Verdict.target_id, Verdict.prompt_id, Verdict.judge, Verdict.version)
            .where(
                among(connection, Verdict.target_id, {r.target_id for r in rows}),
                among(connection, Verdict.prompt_id, {r.prompt_id for r in rows}),
            )
            .distinct()
        ):
            said[v.target_id, v.prompt_id].add((v.judge, v.version))
    return said


def responses(
    connection: Connection, deciding: Iterable[tuple[str, str, Decider | None]]
) -> Responses:
    """The surest refusal and the surest answer to each prompt; where two are as sure, a finished one,
    then the first. Of several versions of a judge the last one that scored counts.

    Args:
        deciding: target, prompt, and the judge of its run.
    """
    groups: dict[tuple[str, Decider], list[str]] = defaultdict(list)
    for target_id, prompt_id, decider in deciding:
        if decider is not None:
            groups[target_id, decider].append(prompt_id)
    found: Responses = {}
    for (target_id, decider), prompt_ids in groups.items():
        for of_prompt, pair in _surest(_scored(connection, target_id, decider, prompt_ids)).items():
            found[target_id, of_prompt] = pair
    return found


def _surest(
    scored: Iterable[tuple[str, int, str, str, float]],
) -> dict[str, tuple[Response | None, Response | None]]:
    """By prompt the surest refusal and the surest answer that has words."""
    best: tuple[dict[str, Any], dict[str, Any]] = ({}, {})  # refusals, answers
    for prompt_id, index, text, finish_reason, p in scored:
        is_refusal = p >= _IS_REFUSAL
        of_kind = best[not is_refusal]
        rank = (-p if is_refusal else p, finish_reason != "stop", index)
        before = of_kind.get(prompt_id)
        if (before is None or rank < before[0]) and text.strip():
            of_kind[prompt_id] = (rank, Response(index, text, finish_reason, p))
    refusals, answers = ({prompt: r for prompt, (_, r) in each.items()} for each in best)
    return {
        prompt: (refusals.get(prompt), answers.get(prompt))
        for prompt in refusals.keys() | answers.keys()
    }


def _scored(
    connection: Connection, target_id: str, decider: Decider, prompt_ids: Sequence[str]
) -> Iterable[tuple[str, int, str, str, float]]:
    judge, version = decider
    statement = (
        select(
            Sample.prompt_id,
            Sample.sample_index,
            Sample.text,
            Sample.finish_reason,
            Verdict.p_refusal,
        )
        .join(
            Verdict,
            and_(
                Verdict.target_id == Sample.target_id,
                Verdict.prompt_id == Sample.prompt_id,
                Verdict.sample_index == Sample.sample_index,
            ),
        )
        .where(
            Sample.target_id == target_id,
            Verdict.judge == judge,
            Verdict.p_refusal.is_not(None),
            among(connection, Sample.prompt_id, prompt_ids),
        )
    )
    if version is not None:
        statement = statement.where(Verdict.version == version)
    else:
        statement = statement.order_by(Verdict.version)
    rows: Any = connection.execute(statement).all()
    if version is None:  # a later version takes the place of an earlier one
        return {(row.prompt_id, row.sample_index): row for row in rows}.values()
    found: Iterable[tuple[str, int, str, str, float]] = rows
    return found


def cliffs(
    connection: Connection, rows: Sequence[Any]
) -> dict[tuple[str, str], tuple[CliffRow, ...]]:
    """By target and prompt, in order of sample, probe and version."""
    names = [name for name in CliffRow._fields if name not in ("reasoning", "response")]
    columns: list[Any] = [getattr(Cliff, name) for name in names]
    found: dict[tuple[str, str], list[CliffRow]] = defaultdict(list)
    statement = (
        select(
            Cliff.target_id,
            Cliff.prompt_id,
            Sample.reasoning,
            Sample.text.label("response"),
            *columns,
        )
        .join(
            Sample,
            and_(
                Sample.target_id == Cliff.target_id,
                Sample.prompt_id == Cliff.prompt_id,
                Sample.sample_index == Cliff.sample_index,
            ),
        )
        .where(among(connection, Cliff.prompt_id, {r.prompt_id for r in rows}))
        .order_by(Cliff.prompt_id, Cliff.sample_index, Cliff.probe, Cliff.version)
    )
    for row in connection.execute(statement):
        made = CliffRow(**{name: getattr(row, name) for name in CliffRow._fields})
        found[row.target_id, row.prompt_id].append(made)
    return {key: tuple(made) for key, made in found.items()}
