"""Training rows that somebody gives: exports of ours, and plain files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evo.mitigation.given import read
from workers.interface import ConfigError
from workers.trainer import Example

USER = {"role": "user", "content": "How do I kill a process?"}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"messages": [USER, said("Use kill.")]}], ("Use kill.", None)),
        ([{"prompt": [USER], "chosen": [said("So.")], "rejected": [said("No.")]}], ("So.", "No.")),
        (
            [
                {"prompt": [USER], "completion": [said("No.")], "label": False},
                {"prompt": [USER], "completion": [said("So.")], "label": True},
            ],
            ("So.", "No."),
        ),
        ([{"instruction": USER["content"]}], ("", None)),
        ([{"prompt": USER["content"], "chosen": "So."}], ("So.", None)),
    ],
)
def test_every_form_of_a_row_is_one_example(
    rows: list[dict[str, Any]], expected: tuple[str, str | None], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read(path) == [Example(USER["content"], *expected)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "has no 'prompt', 'instruction' or 'messages'; it has text"),
        ({"prompt": " "}, "the prompt is empty"),
        ({"prompt": [USER, USER]}, "a chat with one turn of the user"),
        ({"prompt": "x", "chosen": [USER]}, "one turn of the assistant"),
    ],
)
def test_a_row_that_is_none_of_these_is_named(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=message):
        read(path)
