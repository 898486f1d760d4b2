"""Cliff-as-a-Judge as a dataset: which examples a repair should learn from, in a folder of their own.

From a file of training examples, on which the target is traced now; or from the traces of a run, whose
prompts come through the one door of exports. An edge, as `evo.cliffs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.exporters import folder
from evo.cliffs import Item
from fitness.cliff.selection import Example, select
from fitness.types import CliffTrace, NoTrace
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store

FILE = "train.jsonl"


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows, those with the largest misalignment first; of how many that had a trace, and how many none."""

    rows: tuple[Mapping[str, Any], ...]
    of: int
    without: int
    versions: tuple[str, ...]


def of_items(
    items: Sequence[Item],
    traces: Sequence[CliffTrace | NoTrace],
    fraction: float,
    *,
    inverse: bool = False,
) -> Selection:
    """Rows of a file with the course that their prompt took; a row keeps its own columns."""
    found = {
        str(n): (item, trace)
        for n, (item, trace) in enumerate(zip(items, traces, strict=True))
        if isinstance(trace, CliffTrace)
    }
    width = len(str(len(items)))
    examples = [
        Example(key.zfill(width), trace.plateau, trace.final, item.harmful)
        for key, (item, trace) in found.items()
    ]
    chosen = select(examples, fraction, inverse=inverse)
    made = []
    for example in chosen:
        item, trace = found[str(int(example.key))]
        told = {} if item.response is None else {"target_reasoning": item.response.reasoning}
        measured = {
            "plateau": trace.plateau,
            "final": trace.final,
            "misalignment": trace.cliff,
            "kind": trace.kind.value,
            "position": trace.position,
        }
        made.append({**item.row, **told, **measured})
    versions = {t.version for t in traces}
    return Selection(
        tuple(made), len(examples), len(items) - len(examples), tuple(sorted(versions))
    )


def of_run(
    store: Store, run: str, fraction: float, *, inverse: bool = False, version: str | None = None
) -> Selection:
    """Rows of the `cliff` export of a run, of each prompt the sample with the largest misalignment:
    harmless prompts alone; inverse: of its over-refusals. `version`: of the probe.

    Raises:
        ConfigError: no such run, none of its samples has a trace, or several probes traced them and
            nobody said which counts: their scores cannot be compared.
    """
    from db import exporters, traces

    rows: list[Mapping[str, Any]] = list(
        exporters.rows(
            store, "cliff", run=run, **({} if inverse else {"min_refusal": 0.0}), seeds=True
        )
    )
    versions = {row["version"] for row in rows}
    if version is None and len(versions) > 1:
        raise ConfigError(
            f"--run {run}: was traced by {len(versions)} probes ({', '.join(sorted(versions))}); name "
            "the PROBE that counts"
        )
    rows = _largest([r for r in rows if version in (None, r["version"])], inverse=inverse)
    if not rows:
        raise ConfigError(
            f"--run {run}: no harmless prompt of it has a trace; evocliff cliff trace PROBE --run {run}"
        )
    width = len(str(len(rows)))
    by_key = {str(n).zfill(width): row for n, row in enumerate(rows)}
    examples = [
        Example(key, row["plateau"], row["final"], harmful=False) for key, row in by_key.items()
    ]
    chosen = select(examples, fraction, inverse=inverse)
    return Selection(
        tuple({**by_key[e.key], "misalignment": e.misalignment} for e in chosen),
        len(rows),
        sum(traces.no_traces(store, run).values()),
        tuple(sorted({row["version"] for row in rows})),
    )


def _largest(rows: Sequence[Mapping[str, Any]], *, inverse: bool) -> list[Mapping[str, Any]]:
    """One row of each prompt, in the order of their first."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        other = best.setdefault(row["instruction"], row)
        if (row["cliff"] < other["cliff"]) if inverse else (row["cliff"] > other["cliff"]):
            best[row["instruction"]] = row
    return list(best.values())


def write(selection: Selection, out: Path, *, fraction: float, inverse: bool, source: str) -> str:
    """A folder with the rows and a card, whole or not at all; the SHA-256 of the rows.

    Raises:
        ConfigError: nothing was chosen, or `out` exists.
        StoreError: it cannot be written.
    """
    if not selection.rows:
        way = "rises" if inverse else "falls"
        raise ConfigError(
            f"{source}: of {selection.of} traced examples none has a score that {way}"
        )
    lines = [
        json.dumps(row, ensure_ascii=True, sort_keys=True, default=str) for row in selection.rows
    ]
    content = "".join(f"{line}\n" for line in lines).encode()
    digest = hashlib.sha256(content).hexdigest()
    what = (
        "harmless prompts with the largest inverse cliff: the thought means to answer, and the target refuses"
        if inverse
        else "examples with the largest misalignment: the thought means to refuse, and the target answers"
    )
    card = f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: {FILE}
---

# A selection by refusal cliffs

{len(selection.rows)} of {selection.of} traced examples of {json.dumps(source)} ({selection.without} had no trace): {what}
(Cliff-as-a-Judge, arXiv 2510.06036; misalignment = plateau - final). Asked for: {fraction:g} of them.
Probe version: {", ".join(selection.versions)}. SHA-256 of {FILE}: {digest}.
"""
    with folder.new(out) as part:
        folder.write(part / FILE, content)
        folder.write(part / "README.md", card.encode())
    return digest
