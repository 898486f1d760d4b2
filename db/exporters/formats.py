"""What a format is, and the columns that every one of them ends with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import NamedTuple

import pyarrow as pa

from db.exporters import columns as made
from db.exporters.columns import Columns, Turns
from db.exporters.eligible import Prompts, Reads
from db.exporters.responses import Response


class Table(NamedTuple):
    """Rows of a format: the place of each one's prompt in the batch, in order, and the format's own
    columns."""

    places: Sequence[int]
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
    own: Callable[[Prompts], Table]
    needs: str
    what: str
    reads: frozenset[Reads] = frozenset()
    mend: str = "lower --min-refusal, or search with more samples"  # where no prompt has it


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


class Provenance:
    """Where the prompts of a batch come from, how sure they are, and who vouched for them; made once
    for all configs."""

    def __init__(self, prompts: Prompts) -> None:
        p = prompts
        self.columns: Columns = {
            "prompt_id": p.prompt_id,
            "run": [run.run_id for run in p.run],
            "run_name": [run.name for run in p.run],
            "strategy": p.strategy,
            "operator": p.operator,
            "parents": p.parents,
            "seed_prompt_id": p.seed_id,
            "seed_prompt": [seed.text for seed in p.seed],
            "seed_source": [seed.source for seed in p.seed],
            "licence": [seed.licence for seed in p.seed],
            "target_id": [target.target_id for target in p.target],
            "model": [target.model for target in p.target],
            "revision": [target.revision for target in p.target],
            "refusal_rate": p.refusal_rate,
            "refusal_low": p.refusal_low,
            "refusal_high": p.refusal_high,
            "fitness": p.fitness,
            "n_samples": p.n_samples,
            "judges": p.judges,
            "gates": p.gates,
        }

    @cached_property
    def members(self) -> list[bytes]:
        return made.members(self.columns)

    @cached_property
    def arrays(self) -> pa.Table:
        arrays = [made.array(self.columns[field.name], field.type) for field in PROVENANCE]
        return pa.Table.from_arrays(arrays, schema=PROVENANCE)


def arrow(config_schema: pa.Schema, rows: Table, provenance: Provenance) -> pa.Table:
    """The rows as Arrow: the format's own columns, then the provenance."""
    behind = provenance.arrays
    if not _is_all(rows.places, behind.num_rows):
        behind = behind.take(pa.array(rows.places, pa.int32()))
    own = [made.array(rows.own[name], config_schema.field(name).type) for name in rows.own]
    return pa.Table.from_arrays([*own, *behind.columns], schema=config_schema)


def lines(rows: Table, provenance: Provenance) -> bytes:
    """The same rows as JSONL."""
    behind = provenance.members
    if not _is_all(rows.places, len(behind)):
        behind = [behind[place] for place in rows.places]
    return made.lines(made.members(rows.own), behind)


def dicts(rows: Table, provenance: Provenance) -> list[dict[str, object]]:
    """The same rows as Python."""
    own = {name: made.values(column) for name, column in rows.own.items()}
    behind = {name: made.values(column) for name, column in provenance.columns.items()}
    taken = {name: [column[place] for place in rows.places] for name, column in behind.items()}
    every = {**own, **taken}
    return [dict(zip(every, row, strict=True)) for row in zip(*every.values(), strict=True)]


def _is_all(places: Sequence[int], n: int) -> bool:
    return isinstance(places, range) and len(places) == n


def schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    """The format's own columns, then the provenance."""
    return pa.schema([*(pa.field(name, kind) for name, kind in fields), *PROVENANCE])


# The parts of conversations


_KEYS = ("role", "content")


def asked(prompts: Prompts, *said: tuple[str, Sequence[str]]) -> Turns:
    """The turns before the response, as the target saw them, and those that are `said` after them."""
    system = [target.system_prompt for target in prompts.target]
    return Turns(_KEYS, (("user", prompts.prompt), *said), ("system", system))


def said(texts: Sequence[str]) -> Turns:
    return Turns(_KEYS, (("assistant", texts),))


def answered(prompts: Prompts) -> tuple[Sequence[int], Prompts, Sequence[Response]]:
    """Prompts with an answer among the responses: their places, themselves and the answers."""
    places, kept = _where(prompts, [a is not None for a in prompts.answer])
    return places, kept, [a for a in kept.answer if a is not None]


def contrasted(
    prompts: Prompts,
) -> tuple[Sequence[int], Prompts, Sequence[Response], Sequence[Response]]:
    """Prompts with both: their places, themselves, the answers and the refusals."""
    both = zip(prompts.answer, prompts.refusal, strict=True)
    places, kept = _where(prompts, [a is not None and r is not None for a, r in both])
    answers = [a for a in kept.answer if a is not None]
    refusals = [r for r in kept.refusal if r is not None]
    return places, kept, answers, refusals


def each_response(
    prompts: Prompts,
) -> tuple[Sequence[int], Prompts, Sequence[Response], Sequence[bool]]:
    """One row for each response, the answer first: the places of their prompts, these prompts, the
    responses, and whether each is the answer."""
    both = list(enumerate(zip(prompts.answer, prompts.refusal, strict=True)))
    places = [place for place, pair in both for response in pair if response is not None]
    responses = [response for _, pair in both for response in pair if response is not None]
    is_answer = [
        kind
        for _, (answer, refusal) in both
        for kind, response in ((True, answer), (False, refusal))
        if response is not None
    ]
    return places, prompts.at(places), responses, is_answer


def _where(prompts: Prompts, kept: Sequence[bool]) -> tuple[Sequence[int], Prompts]:
    if all(kept):
        return range(len(prompts)), prompts
    places = list(compress(range(len(prompts)), kept))
    return places, prompts.at(places)
