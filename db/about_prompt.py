"""One prompt with all that is stored of it: its evaluations, samples, verdicts, gates and sources. Read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from db import lookup
from db.lookup import of_any_target
from db.models import (
    BoundaryPair,
    Evaluation,
    GateDecision,
    Prompt,
    PromptSource,
    Run,
    Sample,
    Target,
    Verdict,
)

if TYPE_CHECKING:
    from db.store import Store

SAMPLES = 60  # of all targets together; a page shows no more


@dataclass(frozen=True, slots=True)
class AboutPrompt:
    """`samples` have their `verdicts`; `n_samples` counts those that are not read too."""

    prompt_id: str
    prompt: str
    source: str | None
    licence: str | None
    sources: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    gates: Sequence[Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]


def about_prompt(store: Store, prompt: str) -> AboutPrompt:
    """Everything of a prompt by its id, or the unique beginning of one.

    Raises:
        ConfigError: no such prompt, or several.
    """
    lookup.require_text("PROMPT", prompt)
    with store.reading() as connection:
        prompt_id = lookup.find_prompt(connection, prompt)
        row = connection.execute(
            select(Prompt.__table__).where(Prompt.prompt_id == prompt_id)
        ).one()
        return AboutPrompt(
            prompt_id,
            row.text,
            row.source,
            row.licence,
            _all(connection, select(PromptSource.__table__), PromptSource.prompt_id, prompt_id),
            _evaluations(connection, prompt_id),
            _samples(connection, prompt_id),
            _all(connection, select(GateDecision.__table__), GateDecision.prompt_id, prompt_id),
            _pairs(connection, prompt_id),
        )


def _all(connection: Connection, statement: Any, column: Any, value: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement.where(column == value)).mappings()]


def _evaluations(connection: Connection, prompt_id: str) -> list[dict[str, Any]]:
    statement = (
        select(Evaluation.__table__, Run.name.label("run_name"), Target.model)
        .join(Run, Run.run_id == Evaluation.run_id)
        .join(Target, Target.target_id == Evaluation.target_id)
        .where(Evaluation.is_superseded.is_(False))
        .order_by(Run.started_at.desc(), Evaluation.proposal_index)
    )
    return _all(connection, statement, Evaluation.prompt_id, prompt_id)


def _samples(connection: Connection, prompt_id: str) -> list[dict[str, Any]]:
    verdicts: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    statement = (
        select(Verdict.__table__)
        .where(of_any_target(Verdict.target_id))
        .order_by(Verdict.judge, Verdict.version)
    )
    for row in _all(connection, statement, Verdict.prompt_id, prompt_id):
        verdicts[row["target_id"], row["sample_index"]].append(row)
    statement = (
        select(Sample.__table__, Target.model, Target.system_prompt, Target.surface)
        .join(Target, Target.target_id == Sample.target_id)
        .where(of_any_target(Sample.target_id))
        .order_by(Sample.target_id, Sample.sample_index)
        .limit(SAMPLES)
    )
    return [
        row | {"verdicts": verdicts[row["target_id"], row["sample_index"]]}
        for row in _all(connection, statement, Sample.prompt_id, prompt_id)
    ]


def _pairs(connection: Connection, prompt_id: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(BoundaryPair.__table__, Prompt.text.label("other"))
        .join(Prompt, Prompt.prompt_id == BoundaryPair.answered_prompt_id)
        .where(BoundaryPair.refused_prompt_id == prompt_id)
    ).mappings()
    other = connection.execute(
        select(BoundaryPair.__table__, Prompt.text.label("other"))
        .join(Prompt, Prompt.prompt_id == BoundaryPair.refused_prompt_id)
        .where(BoundaryPair.answered_prompt_id == prompt_id)
    ).mappings()
    return [dict(row) for row in (*rows, *other)]
