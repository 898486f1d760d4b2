"""Samples and verdicts into the record. Knows their tables; opens nothing, commits nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from db import disagree, traces
from db.disagree import differ
from db.models import Sample, Verdict, storable, utc_now
from db.rows import chunks, insert_new, number, parts_of, verdict_row
from evo.types import Outcome
from fitness.types import JudgedSample
from workers.interface import Sample as SampleValue


def write_samples(
    connection: Connection, run_id: str, target_id: str, outcomes: Sequence[Outcome]
) -> None:
    """With their traces, where a probe has read them. `target_id`: whose they are where an outcome does
    not say."""
    now = utc_now()
    judged: dict[tuple[str, str, int], JudgedSample] = {}
    drawn: set[tuple[str, str, int]] = set()  # by this run, now; the others were in the store
    for outcome in outcomes:
        if outcome.candidate is None:
            continue
        prompt = outcome.candidate.prompt_id
        for target, part in parts_of(outcome, target_id):
            places = [(target, prompt, s.sample.index) for s in part.samples]
            judged.update(zip(places, part.samples, strict=True))
            drawn.update(places[len(places) - part.n_new :])
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
    all_new = insert_new(connection, Sample, rows) == len(drawn)
    # Another run may have drawn a sample first. A verdict is about the text that is stored.
    doubtful = judged.keys() - drawn if all_new else judged.keys()
    stored: dict[tuple[str, str, int], str] = {}
    for target in sorted({target for target, _, _ in doubtful}):
        asked = sorted({prompt for t, prompt, _ in doubtful if t == target})
        stored |= _texts(connection, target, asked)
    mine = [p for p in judged if p not in doubtful or stored[p] == storable(judged[p].sample.text)]
    verdicts = [
        {
            **keys[place],
            **verdict_row(v),
        }
        for place in mine
        for v in judged[place].verdicts
    ]
    if insert_new(connection, Verdict, verdicts) == len(verdicts):
        differing = (p for p, s in judged.items() if differ(v.p_refusal for v in s.verdicts))
        disagree.write(connection, list(differing))
    else:
        disagree.refresh(connection, list(judged))
    traced = [(place, trace) for place in mine if (trace := judged[place].trace) is not None]
    if traced:
        traces.write(connection, traced)


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
