"""What people see of a prompt that was found: plain rows, with its parents and how it came about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, or_, select

from db.models import Lineage, Proposal
from db.rows import chunks
from evo.types import RESAMPLE

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 10_000
_RUNS = 100  # that one statement asks for

COLUMNS = (
    "prompt_id",
    "prompt",
    "run",
    "strategy",
    "operator",
    "topic",
    "parents",
    "seed_prompt_id",
    "target",
    "model",
    "refusal_rate",
    "refusal_low",
    "refusal_high",
    "fitness",
    "confidence",
    "fitness_terms",
    "n_samples",
    "safety",
)
_NUMBERS = ("refusal_rate", "refusal_low", "refusal_high", "fitness", "confidence")

# A row of `db.plan`, and the value of the column that its order adds.
Placed = tuple[Row[Any], float | None]


def rows(
    connection: Connection, found: Sequence[Placed], extra: str | None
) -> Iterator[dict[str, Any]]:
    """Rows with the keys `COLUMNS`, and `extra`."""
    came = _came(connection, [row for row, _ in found])
    parents = _parents(connection, [(run, index) for run, index, _ in came])
    for (row, value), (run, index, operator) in zip(found, came, strict=True):
        shown = _row(row, operator, parents.get((run, index), []))
        yield shown if extra is None else shown | {extra: value}


def _row(row: Row[Any], operator: str, parents: list[str]) -> dict[str, Any]:
    terms = "refusal" if row.confidence is None else "refusal+confidence"
    values = (
        row.prompt_id,
        row.prompt,
        row.run_id,
        row.strategy,
        operator,
        row.topic,
        parents,
        row.seed_prompt_id,
        row.target_id,
        row.model,
        row.refusal_rate,
        row.refusal_low,
        row.refusal_high,
        row.fitness,
        row.confidence,
        None if row.fitness is None else terms,
        row.n_samples,
        row.safety,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _came(connection: Connection, found: Sequence[Row[Any]]) -> list[tuple[str, int, str]]:
    """(run, proposal, operator) by which each prompt came: of one that was sampled again, the first."""
    again = sorted({(r.run_id, r.prompt_id) for r in found if r.operator == RESAMPLE})
    first: dict[tuple[str, str], tuple[int, str]] = {}
    if again:
        statement = (
            select(Proposal.run_id, Proposal.prompt_id, Proposal.proposal_index, Proposal.operator)
            .where(
                Proposal.prompt_id.in_([prompt for _, prompt in again]),
                Proposal.status == "evaluated",
                Proposal.operator != RESAMPLE,
            )
            .order_by(Proposal.proposal_index.desc())
        )
        for run, prompt, index, operator in connection.execute(statement):
            first[run, str(prompt)] = (index, operator)
    came = []
    for r in found:
        own = (r.proposal_index, r.operator)
        index, operator = first.get((r.run_id, r.prompt_id), own) if again else own
        came.append((r.run_id, index, operator))
    return came


def _parents(
    connection: Connection, proposals: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], list[str]]:
    indices: dict[str, set[int]] = defaultdict(set)
    for run, index in proposals:
        indices[run].add(index)
    parents: dict[tuple[str, int], list[str]] = defaultdict(list)
    for runs in chunks(list(indices), _RUNS):
        # (run, index) IN (...) would go by no index on SQLite.
        of_these = [
            and_(Lineage.run_id == run, Lineage.proposal_index.in_(indices[run])) for run in runs
        ]
        rows = connection.execute(
            select(Lineage.run_id, Lineage.proposal_index, Lineage.parent_prompt_id)
            .where(or_(*of_these))
            .order_by(Lineage.run_id, Lineage.proposal_index, Lineage.position)
        )
        for run, index, parent in rows:
            parents[run, index].append(parent)
    return parents


def to_arrow(rows: Iterable[dict[str, Any]], extra: str | None) -> pa.Table:
    """A table of such rows; its schema does not depend on them."""
    import pyarrow as pa

    types = {
        **dict.fromkeys(COLUMNS, pa.string()),
        **dict.fromkeys(_NUMBERS, pa.float64()),
        "parents": pa.list_(pa.string()),
        "n_samples": pa.int64(),
    }
    if extra is not None:
        types[extra] = pa.float64()
    schema = pa.schema(list(types.items()))
    left = iter(rows)
    batches = []
    while batch := list(islice(left, _BATCH)):
        batches.append(pa.RecordBatch.from_pylist(batch, schema))
    return pa.Table.from_batches(batches, schema)
