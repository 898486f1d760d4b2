"""What a format is, and the columns that every one of them ends with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from db.exporters.eligible import Eligible
from workers.interface import Sample

Row = dict[str, Any]
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of dataset. `row` gives None for a prompt that lacks what this kind needs, which
    `needs` says in words."""

    name: str
    split: str
    schema: pa.Schema
    row: Callable[[Eligible], Row | None]
    needs: str
    what: str


MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

PROVENANCE = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("run", pa.string()),
        ("strategy", pa.string()),
        ("operator", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("seed_prompt", pa.string()),
        ("seed_source", pa.string()),
        ("licence", pa.string()),
        ("target_id", pa.string()),
        ("model", pa.string()),
        ("refusal_rate", pa.float64()),
        ("refusal_low", pa.float64()),
        ("refusal_high", pa.float64()),
        ("fitness", pa.float64()),
        ("n_samples", pa.int32()),
        ("judges", pa.list_(pa.string())),
        ("gates", pa.list_(pa.string())),
    ]
)


def provenance(e: Eligible) -> Row:
    """Where a row comes from, how sure it is, and who vouched for it."""
    return {
        "prompt_id": e.found.prompt_id,
        "run": e.found.run.run_id,
        "strategy": e.found.strategy,
        "operator": e.found.operator,
        "parents": list(e.found.parents),
        "seed_prompt": e.seed.text,
        "seed_source": e.seed.source,
        "licence": e.seed.licence,
        "target_id": e.target.target_id,
        "model": e.target.model,
        "refusal_rate": e.score.refusal_rate,
        "refusal_low": e.score.refusal_low,
        "refusal_high": e.score.refusal_high,
        "fitness": e.score.fitness,
        "n_samples": e.score.n_samples,
        "judges": list(e.judges),
        "gates": list(e.gates),
    }


def schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    """The format's own columns, then the provenance."""
    return pa.schema([*(pa.field(name, kind) for name, kind in fields), *PROVENANCE])


def asked(e: Eligible) -> list[Message]:
    """The turns before the response, as the target saw them."""
    system = e.target.system_prompt
    first = [{"role": "system", "content": system}] if system is not None else []
    return [*first, {"role": "user", "content": e.found.prompt}]


def said(sample: Sample) -> Message:
    return {"role": "assistant", "content": sample.text}
