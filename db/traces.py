"""Traces of refusal cliffs and signatures: written, and read back for people.

A trace belongs to a sample and to one probe in one version; what could not be traced is noted with its
reason and never becomes a number. A signature belongs to a prompt on a target and to one guard in one
version. Knows the tables; knows nothing of hidden states.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, RowMapping, delete, exists, func, select, tuple_

from db import lookup
from db.models import Cliff, Evaluation, Prompt, Run, Sample, Signature, Target, Untraced
from db.rows import chunks, insert_new
from fitness.types import CliffKind, CliffTrace, NoTrace, Signed

if TYPE_CHECKING:
    from db.store import Store

Key = tuple[str, str, int]  # target id, prompt id, sample index
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Traceable:
    """A stored sample with all that a probe needs of it."""

    key: Key
    prompt: str
    system_prompt: str | None
    reasoning: str | None
    response: str
    finish_reason: str


# Writing


def record(store: Store, traces: Sequence[tuple[Key, CliffTrace | NoTrace]]) -> None:
    """Store what was traced and what could not be, in one transaction. What is stored stays: a trace
    of the same sample by the same probe is the same. A trace takes the place of an earlier *no trace*.

    Raises:
        StoreError: the database cannot be written, or a sample is not in it.
    """
    with store.writing() as connection:
        write(connection, traces)


def write(connection: Connection, traces: Sequence[tuple[Key, CliffTrace | NoTrace]]) -> None:
    """As `record`, within a transaction."""
    found = [(key, trace) for key, trace in traces if isinstance(trace, CliffTrace)]
    missing = [(key, trace) for key, trace in traces if isinstance(trace, NoTrace)]
    if found:
        insert_new(connection, Cliff, [_cliff_row(*each) for each in found])
    for (target, prompt, index), trace in found:
        connection.execute(
            delete(Untraced).where(
                Untraced.target_id == target,
                Untraced.prompt_id == prompt,
                Untraced.sample_index == index,
                Untraced.probe == trace.probe,
                Untraced.version == trace.version,
            )
        )
    traced = _among(connection, Cliff, [key for key, _ in missing])
    rows = [
        _sample(key) | {"probe": trace.probe, "version": trace.version, "reason": trace.reason}
        for key, trace in missing
        if (*key, trace.probe, trace.version) not in traced
    ]
    if rows:
        insert_new(connection, Untraced, rows)


def record_signatures(store: Store, signed: Sequence[tuple[str, str, Signed]]) -> None:
    """Store signatures of (target id, prompt id); one by the same guard is replaced, for a refusal
    rate may have changed since.

    Raises:
        StoreError: the database cannot be written, or a prompt or target is not in it.
    """
    with store.writing() as connection:
        for part in chunks(signed):
            keys = [(target, prompt, s.guard, s.version) for target, prompt, s in part]
            columns = (
                Signature.target_id,
                Signature.prompt_id,
                Signature.guard,
                Signature.version,
            )
            connection.execute(delete(Signature).where(tuple_(*columns).in_(keys)))
            insert_new(connection, Signature, [_signature_row(*each) for each in part])


# Reading


def read(
    connection: Connection, target_id: str, prompt_ids: Sequence[str], version: str
) -> dict[tuple[str, int], CliffTrace | NoTrace]:
    """(Prompt id, sample index) -> what the probe of this version made of that sample of a target.
    Traces that were stored without their scores are left out."""
    found: dict[tuple[str, int], CliffTrace | NoTrace] = {}
    for part in chunks(prompt_ids):
        for table in (Untraced, Cliff):
            rows = connection.execute(
                select(table.__table__).where(
                    table.target_id == target_id,
                    table.prompt_id.in_(part),
                    table.version == version,
                )
            ).mappings()
            found |= {
                (row["prompt_id"], row["sample_index"]): trace
                for row in rows
                if (trace := _trace_of(row)) is not None
            }
    return found


def _trace_of(row: RowMapping) -> CliffTrace | NoTrace | None:
    if "reason" in row:
        return NoTrace(row["probe"], row["version"], row["reason"])
    if row["scores"] is None or row["plateau_top"] is None:
        return None
    own = {name: row[name] for name in CliffTrace.__dataclass_fields__ if name != "kind"}
    return CliffTrace(**own, kind=CliffKind(row["kind"]))


def waiting(
    store: Store, run: str, probe: str, version: str, size: int = _BATCH
) -> Iterator[list[Traceable]]:
    """The samples of a run's evaluated prompts that this probe has not met, in order of target, prompt
    and index, so many at a time. What was recorded meanwhile is not met again.

    Raises:
        ConfigError: there is no such run.
    """
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
    after: Key | None = None
    while True:
        with store.reading() as connection:
            rows = connection.execute(_untraced(run_id, probe, version, after).limit(size)).all()
        if not rows:
            return
        found = [Traceable((r.target_id, r.prompt_id, r.sample_index), *r[3:]) for r in rows]
        after = found[-1].key
        yield found


def _untraced(run_id: str, probe: str, version: str, after: Key | None) -> Any:
    key = (Sample.target_id, Sample.prompt_id, Sample.sample_index)
    met = [
        exists().where(
            table.target_id == Sample.target_id,
            table.prompt_id == Sample.prompt_id,
            table.sample_index == Sample.sample_index,
            table.probe == probe,
            table.version == version,
        )
        for table in (Cliff, Untraced)
    ]
    evaluated = exists().where(
        Evaluation.run_id == run_id,
        Evaluation.prompt_id == Sample.prompt_id,
        Evaluation.target_id == Sample.target_id,
    )
    statement = (
        select(
            *key,
            Prompt.text,
            Target.system_prompt,
            Sample.reasoning,
            Sample.text,
            Sample.finish_reason,
        )
        .join(Prompt, Prompt.prompt_id == Sample.prompt_id)
        .join(Target, Target.target_id == Sample.target_id)
        .where(evaluated, ~met[0], ~met[1])
        .order_by(*key)
    )
    return statement if after is None else statement.where(tuple_(*key) > after)


def no_traces(store: Store, run: str | None = None) -> dict[str, int]:
    """How many samples could not be traced, by reason, the most frequent first; of one run or of all.

    Raises:
        ConfigError: there is no such run.
    """
    statement = select(Untraced.reason, func.count().label("n")).group_by(Untraced.reason)
    with store.reading() as connection:
        if run is not None:
            run_id = lookup.find_run(connection, run)
            evaluated = exists().where(
                Evaluation.run_id == run_id,
                Evaluation.prompt_id == Untraced.prompt_id,
                Evaluation.target_id == Untraced.target_id,
            )
            statement = statement.where(evaluated)
        rows = connection.execute(statement).all()
    return dict(sorted(((r.reason, r.n) for r in rows), key=lambda each: (-each[1], each[0])))


def of_prompt(store: Store, prompt: str) -> list[dict[str, Any]]:
    """Every trace of a prompt (id, or its beginning), and every sample that has none: `scores` is a
    list, or None with a `reason`. In order of target, sample, probe and version.

    Raises:
        ConfigError: there is no such prompt.
    """
    shared = ("target_id", "prompt_id", "sample_index", "probe", "version")
    measured = ("kind", "plateau", "plateau_top", "final", "cliff", "position", "n_tokens")
    with store.reading() as connection:
        prompt_id = lookup.find_prompt(connection, prompt)
        made = []
        for table in (Cliff, Untraced):
            own = [c for c in table.__table__.columns if c.name not in shared]
            rows = connection.execute(
                select(Target.model, *(getattr(table, name) for name in shared), *own)
                .join(Target, Target.target_id == table.target_id)
                .where(table.prompt_id == prompt_id)
            )
            for row in rows.mappings():
                known = {name: row.get(name) for name in ("model", *shared, *measured, "reason")}
                made.append(known | {"scores": curve(row.get("scores"))})
    return sorted(made, key=lambda row: tuple(row[name] for name in shared))


def targets_of(
    store: Store, revision: str, template: str, adapter: str | None, system_prompt: str | None
) -> set[str]:
    """The ids of the targets of these weights under this template and system prompt."""
    with store.reading() as connection:
        rows = connection.scalars(
            select(Target.target_id).where(
                Target.revision == revision,
                Target.template == template,
                Target.adapter.is_not_distinct_from(adapter),
                Target.system_prompt.is_not_distinct_from(system_prompt),
            )
        )
        return set(rows)


def targets_under(store: Store, revision: str, template: str, adapter: str | None) -> set[str]:
    """The ids of the targets of these weights under this template, whatever their system prompt and
    sampling."""
    with store.reading() as connection:
        rows = connection.scalars(
            select(Target.target_id).where(
                Target.revision == revision,
                Target.template == template,
                Target.adapter.is_not_distinct_from(adapter),
            )
        )
        return set(rows)


def threshold_of(store: Store, run: str) -> float:
    """The refusal rate from which this run calls a prompt refused.

    Raises:
        ConfigError: there is no such run.
    """
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        return connection.execute(select(Run.threshold).where(Run.run_id == run_id)).scalar_one()


def curve(scores: bytes | None) -> list[float] | None:
    """Stored scores as numbers; None where none were kept.

    >>> curve(bytes.fromhex("0000003f0000803f"))
    [0.5, 1.0]
    """
    return None if scores is None else np.frombuffer(scores, dtype="<f4").astype(float).tolist()


def _among(
    connection: Connection, table: type[Cliff], keys: Collection[Key]
) -> set[tuple[str, str, int, str, str]]:
    """Those of these samples that have a row, with its probe and version."""
    columns = (table.target_id, table.prompt_id, table.sample_index)
    found: set[tuple[str, str, int, str, str]] = set()
    for part in chunks(list(keys)):
        rows = connection.execute(
            select(*columns, table.probe, table.version).where(tuple_(*columns).in_(part))
        )
        found |= {(r[0], r[1], r[2], r[3], r[4]) for r in rows}
    return found


def _sample(key: Key) -> dict[str, Any]:
    return dict(zip(("target_id", "prompt_id", "sample_index"), key, strict=True))


def _cliff_row(key: Key, trace: CliffTrace) -> dict[str, Any]:
    return _sample(key) | {
        "probe": trace.probe,
        "version": trace.version,
        "plateau": trace.plateau,
        "plateau_top": trace.plateau_top,
        "final": trace.final,
        "cliff": trace.cliff,
        "position": trace.position,
        "n_tokens": trace.n_tokens,
        "kind": trace.kind.value,
        "scores": trace.scores,
    }


def _signature_row(target: str, prompt: str, signed: Signed) -> dict[str, Any]:
    return {
        "target_id": target,
        "prompt_id": prompt,
        "guard": signed.guard,
        "version": signed.version,
        "delta_harmful": signed.delta_harmful,
        "delta_refuse": signed.delta_refuse,
        "refusal_rate": signed.refusal_rate,
        "signature": signed.signature.value,
    }
