"""Datasets from the record, for `datasets`, TRL and LLaMA-Factory. One file a format.

Same store, same options: same bytes. Prompts come from `eligible` alone.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from db.exporters import dpo, folder, sft, test
from db.exporters.card import card
from db.exporters.eligible import select_eligible
from db.exporters.formats import Format, Row
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store

FORMATS: Mapping[str, Format] = {m.FORMAT.name: m.FORMAT for m in (test, sft, dpo)}
ALL = "all"


def rows(store: Store, format: str, **options: Any) -> list[Row]:
    """The rows of one format, best first; may be none.

    Args:
        options: those of `eligible.select_eligible`: run, target, strategy, min_refusal, like, sort,
            limit, seeds.
    """
    chosen = _format(format)
    made = (chosen.row(e) for e in select_eligible(store, **options).eligible)
    return [row for row in made if row is not None]


def export(store: Store, format: str, out: str | Path, **options: Any) -> dict[str, Any]:
    """Write a folder that `datasets.load_dataset(out, format)` reads, with its card.

    Args:
        format: one of `FORMATS`, or "all": each that has rows as one config.
        out: a folder that does not exist yet.
        options: as for `rows`.

    Returns:
        format, out, rows and left_out (by format), sha256 of the rows.

    Raises:
        ConfigError: `out` exists, or nothing may be exported; the message says what to relax.
        StoreError: the folder cannot be written; nothing is left behind.
    """
    wanted = list(FORMATS.values()) if format == ALL else [_format(format)]
    out = Path(out)
    folder.require_new(out)
    selected = select_eligible(store, **options)
    selected.require_some()
    files: dict[str, bytes] = {}
    data_files, counts, left_out = {}, {}, {}
    content = hashlib.sha256()
    for each in wanted:
        made = [row for e in selected.eligible if (row := each.row(e)) is not None]
        counts[each.name] = len(made)
        left_out[each.name] = len(selected.eligible) - len(made)
        if not made:
            continue
        path = f"data/{each.name}/{each.split}-00000-of-00001.parquet"
        lines = _jsonl(made)
        files |= {path: _parquet(made, each.schema), f"data/{each.name}/{each.name}.jsonl": lines}
        data_files[each.name] = path
        content.update(f"{each.name}\n".encode() + lines)
    present = [each for each in wanted if each.name in data_files]
    if not present:
        raise ConfigError(
            f"nothing to export: none of the {len(selected.eligible)} prompts has {wanted[0].needs}; "
            "lower --min-refusal, or search with more samples"
        )
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    text = card(present, data_files, counts, left_out, selected, digests, content.hexdigest())
    folder.write(out, {"README.md": text.encode(), **files})
    return {
        "format": format,
        "out": str(out),
        "rows": counts,
        "left_out": left_out,
        "sha256": content.hexdigest(),
    }


def _format(name: str) -> Format:
    if name not in FORMATS:
        known = [*FORMATS, ALL]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"--format {name}: not one of {', '.join(known)}{hint}")
    return FORMATS[name]


def _jsonl(made: Sequence[Row]) -> bytes:
    # Escaped to ASCII: some characters inside prompts end a line for some readers.
    return "".join(json.dumps(row) + "\n" for row in made).encode("ascii")


def _parquet(made: Sequence[Row], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(made), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()
