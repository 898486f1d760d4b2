"""Training rows that somebody gives: an export of ours (sft, dpo, kto), or a file of prompts.

Reads what `evocliff export` writes, and plain files with the columns prompt, chosen and rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from db.importers import reading
from db.importers.table import shown
from evo.datasets import files_of
from evo.types import normalise
from workers.interface import ConfigError
from workers.trainer import Example

# A prompt without an answer waits for one.
WITHOUT = ""


def read(path: Path) -> list[Example]:
    """One example for each prompt, in their order; `chosen` is empty where the file has none.

    Raises:
        ConfigError: it cannot be read, or a row is none of these.
    """
    found: dict[str, Example] = {}
    for file in files_of(path, "--data"):
        table = reading.table(file)
        for place, row in table.rows(table.columns):
            made = _example(row, f"--data: {shown(place)}")
            key = normalise(made.prompt)
            found[key] = _joined(found[key], made) if key in found else made
    if not found:
        raise ConfigError(f"--data: {shown(path)}: holds no row")
    return list(found.values())


def _example(row: Mapping[str, Any], place: str) -> Example:
    if isinstance(row.get("messages"), Sequence) and not isinstance(row["messages"], str):
        *before, last = row["messages"]
        return Example(_user(before, place), _said([last], place))
    prompt = row.get("prompt", row.get("instruction"))
    if prompt is None:
        raise ConfigError(
            f"{place}: has no 'prompt', 'instruction' or 'messages'; it has {shown(', '.join(row))}"
        )
    text = prompt if isinstance(prompt, str) else _user(prompt, place)
    if not text.strip():
        raise ConfigError(f"{place}: the prompt is empty")
    if "completion" in row:
        said = _said(row["completion"], place)
        return Example(text, said) if row.get("label", True) else Example(text, WITHOUT, said)
    chosen, rejected = (
        None if row.get(name) is None else _said(row[name], place)
        for name in ("chosen", "rejected")
    )
    return Example(text, chosen or WITHOUT, rejected)


def _joined(first: Example, second: Example) -> Example:
    """Of two rows of one prompt: the first answer that is wanted, and the first that is not."""
    return replace(
        first,
        chosen=first.chosen or second.chosen,
        rejected=first.rejected if first.rejected is not None else second.rejected,
    )


def _user(turns: Any, place: str) -> str:
    try:
        (text,) = (str(turn["content"]) for turn in turns if turn["role"] == "user")
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{place}: a prompt is text, or a chat with one turn of the user"
        ) from None
    return text


def _said(answer: Any, place: str) -> str:
    if isinstance(answer, str):
        return answer
    try:
        (text,) = (str(turn["content"]) for turn in answer if turn["role"] == "assistant")
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{place}: an answer is text, or one turn of the assistant") from None
    return text
