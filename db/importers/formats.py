"""What a dataset's file looks like, and which of its cells are prompt, label and category."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.importers.table import Row, shown
from workers.interface import ConfigError


@dataclass(frozen=True, slots=True)
class Cells:
    """The columns that are read; None: there is none. `key` names the row in its dataset."""

    prompt: str
    label: str | None = None
    category: str | None = None
    key: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c for c in (self.prompt, self.label, self.category, self.key) if c is not None)


def _as_it_is(prompt: Any) -> Any:
    return prompt


def _as_said(row: Row, cells: Cells, source: str) -> str | None:
    return word(row.get(cells.label)) if cells.label is not None else None


@dataclass(frozen=True, slots=True)
class Format:
    """How one dataset is written down. Of `prompt` the first column that the file has counts.

    recognises: whether a file with these columns is one of it
    source:     what its prompts are said to come from, by file and columns
    text:       the prompt out of its cell
    said:       the label of a row, as the file says it
    """

    name: str
    prompt: tuple[str, ...]
    recognises: Callable[[Collection[str]], bool]
    source: Callable[[Path, Collection[str]], str]
    label: str | None = None
    category: str | None = None
    key: str | None = None
    licence: str | None = None
    text: Callable[[Any], Any] = _as_it_is
    said: Callable[[Row, Cells, str], str | None] = _as_said

    def cells(self, columns: Sequence[str], prompt: str | None = None) -> Cells | None:
        """Its cells in a file with these columns; None where it finds no prompt there.

        Args:
            prompt: the column of the prompts, where the user named it.
        """
        prompt = prompt or next((name for name in self.prompt if name in columns), None)
        if prompt is None:
            return None
        label, category, key = (
            name if name in columns else None for name in (self.label, self.category, self.key)
        )
        return Cells(prompt, label, category, key)


def word(cell: Any) -> str | None:
    """A label, category or key as text; None for an empty one.

    >>> word(" safe "), word(3), word(float("nan")), word("")
    ('safe', '3', None, None)
    """
    if cell is None or cell != cell:  # NaN, which data frames write for nothing
        return None
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, list | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


def require_column(name: str, columns: Sequence[str], option: str, file: object) -> None:
    """Raise ConfigError, naming the nearest, unless the column is there, once."""
    found = columns.count(name)
    if found == 1:
        return
    place = f"{option}: {shown(file)}"
    if found:
        raise ConfigError(f"{place}: the column '{shown(name)}' is there {found} times; rename one")
    by_fold = {column.strip().casefold(): column for column in columns}
    near = difflib.get_close_matches(name.strip().casefold(), by_fold, n=1)
    hint = f"did you mean '{shown(by_fold[near[0]])}'? It has " if near else "it has "
    raise ConfigError(f"{place} has no column '{shown(name)}'; {hint}{listed(columns)}")


def listed(columns: Sequence[str]) -> str:
    return shown(", ".join(columns)) or "nothing"
