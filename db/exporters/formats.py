"""What a format is, and the columns that every one of them ends with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from db.exporters.belongings import Response
from db.exporters.eligible import Eligible, Reads

Columns = dict[str, Sequence[Any]]
Message = dict[str, str]


class Table(NamedTuple):
    """Rows of a format: the prompt of each, in order, and the format's own columns."""

    prompts: Sequence[Eligible]
    own: Columns


@dataclass(frozen=True, slots=True)
class Config:
    """One kind of dataset, a config of `datasets`: one table with one schema.

    own     the format's columns of some prompts; leaves out those that lack what this kind needs,
            which `needs` says in words
    split   the name of the split where none is asked for
    reads   what is read of the record besides the prompt
    """

    name: str
    split: str
    schema: pa.Schema
    own: Callable[[Sequence[Eligible]], Table]
    needs: str
    what: str
    reads: frozenset[Reads] = frozenset()
    mend: str = "lower --min-refusal, or search with more samples"  # where no prompt has it

    def columns(self, prompts: Sequence[Eligible]) -> Columns:
        """All columns of these prompts, in the order of the schema."""
        return complete(self.own(prompts))


def complete(table: Table) -> Columns:
    """The format's own columns, then the provenance."""
    return {**table.own, **provenance(table.prompts)}


MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

PROVENANCE = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("run", pa.string()),
        ("run_name", pa.string()),
        ("strategy", pa.string()),
        ("operator", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("seed_prompt_id", pa.string()),
        ("seed_prompt", pa.string()),
        ("seed_source", pa.string()),
        ("licence", pa.string()),
        ("target_id", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("refusal_rate", pa.float64()),
        ("refusal_low", pa.float64()),
        ("refusal_high", pa.float64()),
        ("fitness", pa.float64()),
        ("n_samples", pa.int32()),
        ("judges", pa.list_(pa.string())),
        ("gates", pa.list_(pa.string())),
    ]
)


def provenance(prompts: Sequence[Eligible]) -> Columns:
    """Where rows come from, how sure they are, and who vouched for them."""
    return {
        "prompt_id": [e.prompt_id for e in prompts],
        "run": [e.run.run_id for e in prompts],
        "run_name": [e.run.name for e in prompts],
        "strategy": [e.strategy for e in prompts],
        "operator": [e.operator for e in prompts],
        "parents": [e.parents for e in prompts],
        "seed_prompt_id": [e.seed_id for e in prompts],
        "seed_prompt": [e.seed.text for e in prompts],
        "seed_source": [e.seed.source for e in prompts],
        "licence": [e.seed.licence for e in prompts],
        "target_id": [e.target.target_id for e in prompts],
        "model": [e.target.model for e in prompts],
        "revision": [e.target.revision for e in prompts],
        "refusal_rate": [e.refusal_rate for e in prompts],
        "refusal_low": [e.refusal_low for e in prompts],
        "refusal_high": [e.refusal_high for e in prompts],
        "fitness": [e.fitness for e in prompts],
        "n_samples": [e.n_samples for e in prompts],
        "judges": [e.judges for e in prompts],
        "gates": [e.gates for e in prompts],
    }


def schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    """The format's own columns, then the provenance."""
    return pa.schema([*(pa.field(name, kind) for name, kind in fields), *PROVENANCE])


def asked(e: Eligible) -> list[Message]:
    """The turns before the response, as the target saw them."""
    user = {"role": "user", "content": e.prompt}
    system = e.target.system_prompt
    return [user] if system is None else [{"role": "system", "content": system}, user]


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def answered(prompts: Sequence[Eligible]) -> list[tuple[Eligible, Response]]:
    """Prompts with an answer among the responses."""
    return [(e, e.answer) for e in prompts if e.answer is not None]


def contrasted(prompts: Sequence[Eligible]) -> list[tuple[Eligible, Response, Response]]:
    """Prompts with both, an answer and a refusal: (prompt, answer, refusal)."""
    return [
        (e, e.answer, e.refusal) for e in prompts if e.answer is not None and e.refusal is not None
    ]


def each_response(prompts: Sequence[Eligible]) -> list[tuple[Eligible, Response, bool]]:
    """One row for each response: (prompt, response, whether it is the answer), the answer first."""
    return [
        (e, response, is_answer)
        for e in prompts
        for response, is_answer in ((e.answer, True), (e.refusal, False))
        if response is not None
    ]
