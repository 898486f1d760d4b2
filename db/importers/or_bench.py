"""OR-Bench (Cui et al., ICML 2025): or-bench-80k, its hard thousand, and the toxic controls.

Its three files look alike and only their names tell them apart, so a file that was renamed has to be
named with --source: the toxic ones must not pass for harmless.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from db.importers.formats import Cells, Format, word
from db.importers.table import Row, shown
from workers.interface import ConfigError

_SETS = {  # the toxic one first: where a name says two things, the wary reading counts
    "or-bench-toxic": ("toxic",),
    "or-bench-hard-1k": ("hard-1k", "hard1k"),
    "or-bench-80k": ("80k",),
}


def _source(path: Path, _: Collection[str]) -> str:
    """By the name of the file, or of a folder that it lies in: Parquet files are called 0000."""
    for name in (path.name, *(parent.name for parent in path.absolute().parents[:2])):
        plain = name.lower().replace("_", "-").replace(" ", "-")
        for source, signs in _SETS.items():
            if any(sign in plain for sign in signs):
                return source
    raise ConfigError(
        f"{shown(path)}: this looks like OR-Bench, and its name does not say which set it is; add "
        f"--source {', '.join(_SETS)}; or, if it is none of them, --prompt-col"
    )


def _said(row: Row, cells: Cells, source: str) -> str | None:
    if cells.label is not None:
        return word(row.get(cells.label))
    return "toxic" if "toxic" in source.lower() else None


FORMAT = Format(
    name="or-bench",
    prompt=("prompt",),
    category="category",
    licence="CC-BY-4.0",
    recognises=lambda columns: set(columns) - {"", "Unnamed: 0"} == {"prompt", "category"},
    source=_source,
    said=_said,
)
