"""Verdicts of further judges on samples that are stored already. Adds rows, changes none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select

from db import disagree, found, lookup
from db.lookup import of_any_target
from db.models import Disagreement, Evaluation, Prompt, Sample, Verdict
from db.rows import chunks, insert_new, verdict_row
from db.values import verdict_of
from fitness.types import JudgeInput
from fitness.types import Verdict as VerdictValue

if TYPE_CHECKING:
    from db.store import Store

Key = tuple[str, str, int]  # target id, prompt id, sample index


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample of an evaluation, as a judge and a score need it. `index` counts within its prompt."""

    key: Key
    what: JudgeInput
    n_tokens: int
    logprob_sum: float | None
    sampling_logprob_sum: float | None


def samples_of(store: Store, run: str) -> list[StoredSample]:
    """The samples that the evaluations of a run rest on, by prompt and index.

    Raises:
        ConfigError: no such run.
    """
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        rows = connection.execute(
            select(Sample.__table__, Prompt.text.label("prompt"))
            .join(Prompt, Prompt.prompt_id == Sample.prompt_id)
            .join(
                Evaluation,
                and_(
                    Evaluation.target_id == Sample.target_id,
                    Evaluation.prompt_id == Sample.prompt_id,
                    Evaluation.run_id == run_id,
                    Sample.sample_index < Evaluation.n_samples,
                    Evaluation.is_superseded.is_(False),
                ),
            )
            .order_by(Evaluation.proposal_index, Sample.sample_index)
        ).all()
    return [
        StoredSample(
            (row.target_id, row.prompt_id, row.sample_index),
            JudgeInput(row.prompt, row.text, row.reasoning),
            row.n_tokens,
            row.logprob_sum,
            row.sampling_logprob_sum,
        )
        for row in rows
    ]


def verdicts_of(store: Store, run: str, judge: str, version: str) -> dict[Key, VerdictValue]:
    """What one judge in one version has said of samples of a run's target."""
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        targets = select(Evaluation.target_id).where(Evaluation.run_id == run_id).distinct()
        rows = connection.execute(
            select(Verdict.__table__).where(
                Verdict.judge == judge, Verdict.version == version, Verdict.target_id.in_(targets)
            )
        ).all()
    return {(v.target_id, v.prompt_id, v.sample_index): verdict_of(v._mapping) for v in rows}


def decider_of(store: Store, run: str) -> tuple[str, str] | None:
    """Name and version of the judge by which a run was scored; None where nothing was."""
    with store.reading() as connection:
        return found.decider(connection, lookup.find_run(connection, run))


def disagreements(store: Store, run: str) -> list[dict[str, Any]]:
    """Samples of a run of which one judge says refusal and another answer, people being judges too:
    prompt_id, target_id, sample_index, prompt, response, verdicts (judge@version -> P(refusal))."""
    d, v = Disagreement, Verdict
    told: dict[Key, dict[str, Any]] = {}
    with store.reading() as connection:
        keys = connection.execute(
            select(d.target_id, d.prompt_id, d.sample_index)
            .join(
                Evaluation,
                and_(
                    Evaluation.target_id == d.target_id,
                    Evaluation.prompt_id == d.prompt_id,
                    Evaluation.run_id == lookup.find_run(connection, run),
                    d.sample_index < Evaluation.n_samples,
                    Evaluation.is_superseded.is_(False),
                ),
            )
            .order_by(Evaluation.proposal_index, d.sample_index)
        ).all()
        order = {tuple(key): place for place, key in enumerate(keys)}
        for chunk in chunks(sorted({key.prompt_id for key in keys})):
            rows = connection.execute(
                select(
                    Sample.__table__, Prompt.text.label("prompt"), v.judge, v.version, v.p_refusal
                )
                .join(Prompt, Prompt.prompt_id == Sample.prompt_id)
                .join(v, and_(_same_sample(v), v.p_refusal.is_not(None)))
                .where(of_any_target(Sample.target_id), Sample.prompt_id.in_(chunk))
                .order_by(v.judge, v.version)
            )
            for row in rows:
                key = (row.target_id, row.prompt_id, row.sample_index)
                if key not in order:
                    continue
                own = told.setdefault(
                    key,
                    {
                        "prompt_id": row.prompt_id,
                        "target_id": row.target_id,
                        "sample_index": row.sample_index,
                        "prompt": row.prompt,
                        "response": row.text,
                        "verdicts": {},
                    },
                )
                own["verdicts"][f"{row.judge}@{row.version}"] = row.p_refusal
    return [told[key] for key in sorted(told, key=lambda key: order[key])]


def _same_sample(table: Any) -> ColumnElement[bool]:
    return and_(
        table.target_id == Sample.target_id,
        table.prompt_id == Sample.prompt_id,
        table.sample_index == Sample.sample_index,
    )


def add(store: Store, verdicts: Sequence[tuple[Key, VerdictValue]]) -> int:
    """Store verdicts in one transaction; what stands there already stays. Returns how many are new."""
    rows = [
        {
            "target_id": target,
            "prompt_id": prompt,
            "sample_index": index,
            **verdict_row(v),
        }
        for (target, prompt, index), v in verdicts
    ]
    with store.writing() as connection:
        count = select(func.count()).select_from(Verdict)
        before = connection.scalar(count) or 0
        for chunk in chunks(rows):
            insert_new(connection, Verdict, chunk)
        disagree.refresh(connection, [key for key, _ in verdicts])
        return (connection.scalar(count) or 0) - before
