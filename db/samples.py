"""Samples and verdicts into the record. Knows their tables; opens nothing, commits nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from db import disagree
from db.disagree import differ
from db.models import Sample, Verdict, storable, utc_now
from db.rows import chunks, insert_new, number, parts_of, verdict_row
from evo.types import Outcome
from workers.interface import Sample as SampleValue


def write_samples(
    connection: Connection, run_id: str, target_id: str, outcomes: Sequence[Outcome]
) -> None:
    """`target_id`: whose they are where an outcome does not say."""
    now = utc_now()
    judged = {
        (target, o.candidate.prompt_id, s.sample.index): s
        for o in outcomes
        if o.candidate
        for target, part in parts_of(o, target_id)
        for s in part.samples
    }
    keys = {
        (target, prompt, index): {
            "target_id": target,
            "prompt_id": prompt,
            "sample_index": index,
        }
        for target, prompt, index in judged
    }
    rows = [
        {**keys[place], **_sample_row(s.sample), "run_id": run_id, "created_at": now}
        for place, s in judged.items()
    ]
    new = insert_new(connection, Sample, rows)
    # Another run may have drawn this sample first. A verdict is about the text that is stored.
    stored: dict[tuple[str, str, int], str] = {}
    for target in () if new else dict.fromkeys(target for target, _, _ in judged):
        stored |= _texts(connection, target, list({p for t, p, _ in judged if t == target}))
    verdicts = [
        {
            **keys[place],
            **verdict_row(v),
        }
        for place, s in judged.items()
        if new or stored[place] == storable(s.sample.text)
        for v in s.verdicts
    ]
    if insert_new(connection, Verdict, verdicts):
        differing = (p for p, s in judged.items() if differ(v.p_refusal for v in s.verdicts))
        disagree.write(connection, list(differing))
    else:
        disagree.refresh(connection, list(judged))


def _texts(
    connection: Connection, target_id: str, prompt_ids: Sequence[str]
) -> dict[tuple[str, str, int], str]:
    found: dict[tuple[str, str, int], str] = {}
    for chunk in chunks(prompt_ids):
        rows = connection.execute(
            select(Sample.prompt_id, Sample.sample_index, Sample.text).where(
                Sample.target_id == target_id, Sample.prompt_id.in_(chunk)
            )
        )
        found |= {(target_id, prompt, index): text for prompt, index, text in rows}
    return found


def read_paid(
    connection: Connection, run_id: str, prompt_ids: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """How many samples of each prompt this run paid for, and their tokens."""
    found: dict[str, tuple[int, int]] = {}
    for chunk in chunks(prompt_ids):
        rows = connection.execute(
            select(Sample.prompt_id, func.count(), func.sum(Sample.n_tokens))
            .where(Sample.run_id == run_id, Sample.prompt_id.in_(chunk))
            .group_by(Sample.prompt_id)
        )
        found |= {prompt: (n, int(tokens)) for prompt, n, tokens in rows}
    return found


def _sample_row(sample: SampleValue) -> dict[str, Any]:
    return {
        "text": sample.text,
        "reasoning": sample.reasoning,
        "n_tokens": sample.n_tokens,
        "logprob_sum": number(sample.logprob_sum),
        "sampling_logprob_sum": number(sample.sampling_logprob_sum),
        "finish_reason": sample.finish_reason,
    }
