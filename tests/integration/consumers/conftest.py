"""The small database, and all of it exported as a folder."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

import db
from db import exporters, written
from db.exporters.formats import Config
from db.store import Store
from db.written import Written
from evo.types import prompt_id
from fitness.constructive import Items, Scored, score
from tests.db import two_runs

CONFIGS: dict[str, Config] = {c.name: c for each in exporters.FORMATS.values() for c in each}


@pytest.fixture(autouse=True)
def _nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file."""
    path = tmp_path_factory.mktemp("database") / "found.db"
    with contextlib.closing(db.open(f"sqlite:///{path}")) as store:
        two_runs.fill(store)
        _write_and_better(store)
    return path


def _write_and_better(store: Store) -> None:
    """A written answer to one prompt, and a better version of it."""
    prompt = prompt_id(next(iter(two_runs.PROMPTS)))
    first = Written(prompt, "w", "1", 0, 0, "Do it so.", "stop")
    second = Written(prompt, "w", "1", 1, 0, "Do it so, and then rest.", "stop", first.written_id)
    written.record(store, [first, second])
    for each, items in ((first, Items(1, 1, 1, 0, 0)), (second, Items(1, 1, 1, 1, 1))):
        scored = Scored("s", "1", items, 1.0, 0.1, None, score(items, 1.0))
        written.record_scores(store, [(each.written_id, scored)])


@pytest.fixture(scope="session")
def exported(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format, each as one config or several of one folder."""
    folder = tmp_path_factory.mktemp("exported") / "dataset"
    with contextlib.closing(db.open(f"sqlite:///{database}", read_only=True)) as store:
        exporters.export(store, "all", folder, chosen="own")
    return folder


def lines(folder: Path, config: str) -> list[dict[str, Any]]:
    """The rows of a config as its JSONL has them."""
    text = (folder / f"data/{config}/{config}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
