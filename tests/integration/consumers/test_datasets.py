"""Hugging Face `datasets` reads every config of an exported folder at the first try."""

from __future__ import annotations

import contextlib
from pathlib import Path

import datasets
import pytest

import db
from db import exporters
from tests.db.two_runs import PROMPTS
from tests.integration.consumers.conftest import CONFIGS, lines


def test_every_kind_of_dataset_is_a_config(exported: Path) -> None:
    assert set(datasets.get_dataset_config_names(str(exported))) == set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_loads_with_the_rows_of_its_lines(exported: Path, config: str) -> None:
    loaded = datasets.load_dataset(str(exported), config)
    assert list(loaded) == [CONFIGS[config].split]
    rows = loaded[CONFIGS[config].split]
    assert rows.to_list() == lines(exported, config)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_streams(exported: Path, config: str) -> None:
    whole = datasets.load_dataset(str(exported), config, split=CONFIGS[config].split)
    streamed = datasets.load_dataset(
        str(exported), config, split=CONFIGS[config].split, streaming=True
    )
    assert list(streamed) == whole.to_list()


def test_both_sides_of_a_split_load(database: Path, tmp_path: Path) -> None:
    with contextlib.closing(db.open(f"sqlite:///{database}", read_only=True)) as store:
        done = exporters.export(
            store, "dpo", tmp_path / "out", split={"train": 0.5, "test": 0.5}, seed=1
        )
    loaded = datasets.load_dataset(str(tmp_path / "out"), "dpo")
    assert {name: len(side) for name, side in loaded.items()} == done["splits"]["dpo"]
    assert set(loaded) == {"train", "test"}
    train, test = (set(loaded[name]["seed_prompt_id"]) for name in ("train", "test"))
    assert train.isdisjoint(test)


def test_the_first_config_is_the_default(exported: Path) -> None:
    (split,) = datasets.load_dataset(str(exported)).values()
    assert set(PROMPTS) <= set(split["instruction"])
