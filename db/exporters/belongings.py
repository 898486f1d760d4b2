"""What belongs to prompts that may leave: seed, target, parents, judges, cliffs. Read a batch at a time.
Knows tables; knows nothing of who may leave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, select

from db.among import among
from db.exporters.matching import Matching, parents
from db.exporters.responses import Decider
from db.found import RunFacts
from db.models import Cliff, Prompt, PromptSource, Proposal, Sample, Target, Verdict
from db.values import pairs
from evo.types import RESAMPLE


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


def origins(
    connection: Connection, matching: Matching
) -> tuple[Sequence[str], Sequence[tuple[str, ...]]]:
    """Operators and parents; those of the first proposal for a prompt that was sampled again."""
    operators, columns = matching.operator, matching.parents
    again = [
        prompt_id
        for prompt_id, operator in zip(matching.prompt_id, operators, strict=True)
        if operator == RESAMPLE
    ]
    if again:
        found = _first(connection, again)
        keys = zip(matching.run_id, matching.prompt_id, strict=True)
        own = zip(operators, columns, strict=True)
        operators, columns = zip(
            *(found.get(key, each) for key, each in zip(keys, own, strict=True)), strict=True
        )
    known = {column: parents_of(column) for column in set(columns)}
    return operators, [known[column] for column in columns]


def _first(
    connection: Connection, prompt_ids: Sequence[str]
) -> dict[tuple[str, str], tuple[str, str]]:
    """(run, prompt) -> operator and parents by which it came."""
    rows = connection.execute(
        select(
            Proposal.run_id,
            Proposal.prompt_id,
            Proposal.operator,
            parents(Proposal.run_id, Proposal.proposal_index).label("parents"),
        )
        .where(
            among(connection, Proposal.prompt_id, prompt_ids),
            Proposal.status == "evaluated",
            Proposal.operator != RESAMPLE,
        )
        .order_by(Proposal.proposal_index.desc())
    )
    return {(r.run_id, r.prompt_id): (r.operator, r.parents) for r in rows}


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
    connection: Connection, matching: Matching, facts: Mapping[str, RunFacts]
) -> tuple[Sequence[Decider | None], Sequence[tuple[str, ...]]]:
    """For each row the judge that decides, and all as name@version in the run's order; a version that
    was not stored is taken from the verdicts."""
    keys = list(zip(matching.run_id, matching.judges, strict=True))
    known = {key: _named(key[1], facts[key[0]].judges) for key in set(keys)}
    found = [known[key] for key in keys]
    without = [place for place, (_, stored) in enumerate(keys) if stored is None]
    if without:
        pairs_of = [(matching.target_id[place], matching.prompt_id[place]) for place in without]
        said = _said(connection, pairs_of)
        for place, pair in zip(without, pairs_of, strict=True):
            order = facts[matching.run_id[place]].judges
            shown = [f"{j}@{v}" for name in order for j, v in sorted(said[pair]) if j == name]
            found[place] = ((order[0], None) if order else None, tuple(shown))
    return [decider for decider, _ in found], [names for _, names in found]


def _named(stored: str | None, order: Sequence[str]) -> tuple[Decider | None, tuple[str, ...]]:
    names = sorted(
        pairs(stored),
        key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order),
    )
    return names[0] if names else None, tuple(f"{j}@{v}" for j, v in names)


def _said(
    connection: Connection, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """(target, prompt) -> the judges that spoke, with their versions."""
    said: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for v in connection.execute(
        select(Verdict.target_id, Verdict.prompt_id, Verdict.judge, Verdict.version)
        .where(
            among(connection, Verdict.target_id, {target_id for target_id, _ in wanted}),
            among(connection, Verdict.prompt_id, {prompt_id for _, prompt_id in wanted}),
        )
        .distinct()
    ):
        said[v.target_id, v.prompt_id].add((v.judge, v.version))
    return said


def cliffs(
    connection: Connection, target_ids: Sequence[str], prompt_ids: Sequence[str]
) -> list[tuple[CliffRow, ...]]:
    """Of each prompt, in order of sample, probe and version."""
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
        .where(among(connection, Cliff.prompt_id, prompt_ids))
        .order_by(Cliff.prompt_id, Cliff.sample_index, Cliff.probe, Cliff.version)
    )
    for row in connection.execute(statement):
        made = CliffRow(**{name: getattr(row, name) for name in CliffRow._fields})
        found[row.target_id, row.prompt_id].append(made)
    keys = zip(target_ids, prompt_ids, strict=True)
    return [tuple(found.get(key, ())) for key in keys]
