"""What `show RUN` says of a run that has ended, kept so that it is reckoned once.

Clusters and diversity of a large run take seconds. Whatever may change what was said drops it: a run
that goes on, a person's label, a boundary search, samples that are forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select

from db.models import Proposal, Run, RunSummary
from db.rows import chunks, insert_new

if TYPE_CHECKING:
    from db.store import Store

# Changes when a summary gets another key or another meaning: older ones are reckoned anew.
FORM = 1


def kept(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """The summary of a run as it was kept; None: not kept, or no longer true."""
    return all_kept(connection).get(run_id)


def all_kept(connection: Connection) -> dict[str, dict[str, Any]]:
    """By run id."""
    rows = connection.execute(
        select(RunSummary.run_id, RunSummary.summary)
        .join(Run, Run.run_id == RunSummary.run_id)
        .where(RunSummary.form == FORM, Run.status != "running")
    )
    return {run_id: json.loads(summary) for run_id, summary in rows}


def keep(store: Store, run_ids: Collection[str] | None = None) -> int:
    """Reckon and keep what is not kept of these runs, or of all, that have ended; how many those were.

    Raises:
        StoreError: another process writes.
    """
    from db import queries  # which reads what is kept

    with store.reading() as connection:
        have = all_kept(connection)
        ended = connection.scalars(
            select(Run.run_id).where(Run.status != "running").order_by(Run.started_at, Run.run_id)
        ).all()
    lacking = [r for r in ended if r not in have and (run_ids is None or r in run_ids)]
    for run_id in lacking:
        with store.reading() as connection:
            summary = queries.reckon(connection, run_id)
        with store.writing() as connection:
            drop(connection, [run_id])
            insert_new(
                connection,
                RunSummary,
                [{"run_id": run_id, "form": FORM, "summary": json.dumps(summary)}],
            )
    return len(lacking)


def drop(connection: Connection, run_ids: Collection[str]) -> None:
    """Forget what is kept of these runs."""
    for chunk in chunks(sorted(run_ids)):
        connection.execute(delete(RunSummary).where(RunSummary.run_id.in_(chunk)))


def drop_of_prompts(connection: Connection, prompt_ids: Collection[str]) -> None:
    """Forget what is kept of the runs that met one of these prompts."""
    for chunk in chunks(sorted(prompt_ids)):
        met = select(Proposal.run_id).where(Proposal.prompt_id.in_(chunk))
        connection.execute(delete(RunSummary).where(RunSummary.run_id.in_(met)))
