"""The small database, and all of it exported as a folder."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

import db
from db import exporters
from db.exporters.formats import Config
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
    return path


@pytest.fixture(scope="session")
def exported(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format, each as one config or several of one folder."""
    folder = tmp_path_factory.mktemp("exported") / "dataset"
    with contextlib.closing(db.open(f"sqlite:///{database}", read_only=True)) as store:
        exporters.export(store, "all", folder)
    return folder


def lines(folder: Path, config: str) -> list[dict[str, Any]]:
    """The rows of a config as its JSONL has them."""
    text = (folder / f"data/{config}/{config}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
