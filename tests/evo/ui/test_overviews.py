"""An overview is kept as long as its making is worth, and never for another run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

import db
from evo.ui import overviews
from evo.ui.overviews import Overviews
from tests.db.two_runs import fill
from workers.interface import ConfigError


def test_it_is_made_again_when_it_is_old_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, made = [0.0], []
    real = overviews.overview

    def slow(store: db.Store, run: str, most: int) -> object:
        made.append(run)
        now[0] += 2.0
        return real(store, run, most)

    monkeypatch.setattr(overviews, "overview", slow)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/o.db")) as store:
        fill(store)
        kept = Overviews()
        first = kept.of(store, "bare", 10)
        now[0] += 40.0  # of 41 that it serves
        assert kept.of(store, "bare", 10) is first
        assert kept.of(store, "patient", 10).name == "patient"
        now[0] += 1.5
        assert kept.of(store, "bare", 10) is not first
        assert made == ["bare", "patient", "bare"]
        with pytest.raises(ConfigError):
            kept.of(store, "nothing", 10)
