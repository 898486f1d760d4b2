"""LLaMA-Factory's own parser and converter keep every row of the ShareGPT export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.db.two_runs import SYSTEM_PROMPT
from tests.integration.consumers.conftest import lines

pytestmark = pytest.mark.slow

READER = Path(__file__).parent / "read_as_llama_factory.py"


@pytest.fixture(scope="module")
def converted(exported: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows as it trains on them, by config."""
    done = subprocess.run(
        [sys.executable, str(READER), str(exported)], check=True, stdout=subprocess.PIPE
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def turns(row: dict[str, Any]) -> list[str]:
    """What the people and the model say in a row of ours; the system prompt stands elsewhere."""
    return [turn["value"] for turn in row["conversations"] if turn["from"] != "system"]


def test_ordinary_rows_are_prompt_and_answer(
    exported: Path, converted: dict[str, list[dict[str, Any]]]
) -> None:
    ours, theirs = lines(exported, "sharegpt-sft"), converted["sharegpt-sft.jsonl"]
    assert len(theirs) == len(ours) > 0
    for mine, row in zip(ours, theirs, strict=True):
        prompt, answer = turns(mine)
        assert row["_prompt"] == [{"role": "user", "content": prompt}]
        assert row["_response"] == [{"role": "assistant", "content": answer}]


def test_ranked_rows_are_an_answer_over_a_refusal(
    exported: Path, converted: dict[str, list[dict[str, Any]]]
) -> None:
    ours, theirs = lines(exported, "sharegpt-dpo"), converted["sharegpt-dpo.jsonl"]
    assert len(theirs) == len(ours) > 0
    for mine, row in zip(ours, theirs, strict=True):
        assert row["_prompt"] == [{"role": "user", "content": turns(mine)[0]}]
        assert row["_response"] == [
            {"role": "assistant", "content": mine[side]["value"]} for side in ("chosen", "rejected")
        ]


def test_the_system_prompt_is_one(converted: dict[str, list[dict[str, Any]]]) -> None:
    for rows in converted.values():
        assert {row["_system"] for row in rows} == {"", SYSTEM_PROMPT}
