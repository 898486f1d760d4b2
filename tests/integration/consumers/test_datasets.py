"""Hugging Face `datasets` reads every config of an exported folder at the first try."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from db.exporters import FORMATS
from tests.integration.consumers.conftest import PROMPTS


def test_every_format_is_a_config(exported: Path) -> None:
    assert set(datasets.get_dataset_config_names(str(exported))) == set(FORMATS)


@pytest.mark.parametrize("config", FORMATS)
def test_a_config_loads_with_the_rows_of_its_lines(exported: Path, config: str) -> None:
    loaded = datasets.load_dataset(str(exported), config)
    assert list(loaded) == [FORMATS[config].split]
    rows = loaded[FORMATS[config].split]
    lines = (exported / f"data/{config}/{config}.jsonl").read_text().splitlines()
    assert rows.to_list() == [json.loads(line) for line in lines]


@pytest.mark.parametrize("config", FORMATS)
def test_a_config_streams(exported: Path, config: str) -> None:
    whole = datasets.load_dataset(str(exported), config, split=FORMATS[config].split)
    streamed = datasets.load_dataset(
        str(exported), config, split=FORMATS[config].split, streaming=True
    )
    assert list(streamed) == whole.to_list()


def test_the_first_config_is_the_default(exported: Path) -> None:
    (split,) = datasets.load_dataset(str(exported)).values()
    assert set(PROMPTS) <= set(split["instruction"])
