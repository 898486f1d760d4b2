"""What an evaluation found, read back: every prompt with its responses and what judges said of them.

Read-only. Whatever is said of an evaluation (`fitness.assessment`) is reckoned from these rows alone, so
a table can be made again from the database at any time.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, func, select

from db import lookup
from db.models import Evaluation, Proposal, Run, Sample, Target, Verdict
from db.values import verdict_of
from fitness.assessment import Answer, Asked
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation. `failed`: prompts that have no result, by why; `judges`: (name, version), the
    first decides."""

    run: str
    run_id: str
    status: str
    target_id: str
    model: str
    adapter: str | None
    system_prompt: str | None
    surface: str
    judges: tuple[tuple[str, str], ...]
    asked: tuple[Asked, ...]
    failed: Mapping[str, int]


def evaluated(store: Store, run: str) -> Evaluated:
    """A run with its prompts in the order in which they were given. A search can be read so too: its
    prompts are those that it evaluated, at their newest evaluation, on its first target.

    Raises:
        ConfigError: no such run, or it has no target yet.
    """
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        about = connection.execute(
            select(
                Run.name,
                Run.status,
                Target.target_id,
                Target.model,
                Target.adapter,
                Target.system_prompt,
                Target.surface,
            )
            .join(Target, Target.target_id == Run.target_id)
            .where(Run.run_id == run_id)
        ).one_or_none()
        if about is None:
            raise ConfigError(f"{run}: this run has not come as far as its target")
        judges = _judges(connection, run_id)
        return Evaluated(
            about.name,
            run_id,
            about.status,
            about.target_id,
            about.model,
            about.adapter,
            about.system_prompt,
            about.surface,
            judges,
            tuple(_asked(connection, run_id, about.target_id, judges)),
            _failed(connection, run_id),
        )


def _judges(connection: Connection, run_id: str) -> tuple[tuple[str, str], ...]:
    said = connection.scalar(
        select(Evaluation.judges)
        .where(Evaluation.run_id == run_id, Evaluation.judges.is_not(None))
        .limit(1)
    )
    return tuple((name, version) for name, version in json.loads(said or "[]"))


def _asked(
    connection: Connection, run_id: str, target_id: str, judges: tuple[tuple[str, str], ...]
) -> list[Asked]:
    """Prompts with the samples that their evaluation rests on."""
    mine = and_(
        Evaluation.run_id == run_id,
        Evaluation.target_id == target_id,
        Evaluation.is_superseded.is_(False),
    )
    verdicts: dict[tuple[str, int], dict[tuple[str, str], tuple[float | None, str | None]]]
    verdicts = defaultdict(dict)
    for row in connection.execute(
        select(Verdict.__table__)
        .join(Evaluation, and_(Evaluation.prompt_id == Verdict.prompt_id, mine))
        .where(Verdict.target_id == target_id)
    ).mappings():
        said = verdict_of(row)
        if (said.judge, said.version) in judges:
            kind = None if said.response_class is None else said.response_class.value
            place = row["prompt_id"], row["sample_index"]
            verdicts[place][said.judge, said.version] = (said.p_refusal, kind)
    answers: dict[str, list[Answer]] = defaultdict(list)
    for sample in connection.execute(
        select(
            Sample.prompt_id,
            Sample.sample_index,
            Sample.text,
            Sample.n_tokens,
            Sample.logprob_sum,
        )
        .join(
            Evaluation,
            and_(
                Evaluation.prompt_id == Sample.prompt_id,
                Sample.sample_index < Evaluation.n_samples,
                mine,
            ),
        )
        .where(Sample.target_id == target_id)
        .order_by(Sample.prompt_id, Sample.sample_index)
    ):
        by_judge = verdicts[sample.prompt_id, sample.sample_index]
        said_by = [by_judge.get(judge, (None, None)) for judge in judges]
        answers[sample.prompt_id].append(
            Answer(
                sample.text,
                sample.n_tokens,
                sample.logprob_sum,
                tuple(p for p, _ in said_by),
                next((kind for _, kind in said_by if kind is not None), None),
            )
        )
    rows = connection.execute(
        select(
            Proposal.prompt_id,
            Proposal.text,
            Proposal.topic,
            Proposal.strategy,
            Evaluation.safety,
        )
        .join(Evaluation, and_(Evaluation.proposal_index == Proposal.proposal_index, mine))
        .where(Proposal.run_id == run_id)
        .order_by(Proposal.proposal_index)
    )
    return [
        Asked(
            row.prompt_id,
            row.text,
            row.safety,
            row.topic,
            row.strategy,
            tuple(answers[row.prompt_id]),
        )
        for row in rows
    ]


def _failed(connection: Connection, run_id: str) -> Mapping[str, int]:
    rows = connection.execute(
        select(Proposal.failure_kind, func.count())
        .where(Proposal.run_id == run_id, Proposal.status == "failed")
        .group_by(Proposal.failure_kind)
    )
    return Counter({str(kind): n for kind, n in rows})
