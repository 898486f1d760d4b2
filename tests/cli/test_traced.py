"""`evocliff cliff show`: one prompt's traces."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
from sqlalchemy import select, update
from typer.testing import CliRunner

import db
from db.models import Cliff
from evo.cli import app
from evo.cli.traced import bars
from tests.db.two_runs import fill


def test_the_traces_of_a_prompt_are_drawn_and_printed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with contextlib.closing(db.open(url)) as store:
        fill(store)
        with store.writing() as connection:
            scores = np.linspace(1, 0, 12).astype("<f4").tobytes()
            connection.execute(update(Cliff).values(scores=scores))
            prompt = connection.scalar(select(Cliff.prompt_id).limit(1))
    shown = CliRunner().invoke(app, ["cliff", "show", prompt[:10], "--db", url])
    assert shown.exit_code == 0, shown.output
    assert "plateau" in shown.stdout
    assert "█" in shown.stdout
    rows = json.loads(
        CliRunner().invoke(app, ["cliff", "show", prompt, "--json", "--db", url]).stdout
    )
    assert rows[0]["prompt_id"] == prompt
    assert len(rows[0]["scores"]) == 12
    unknown = CliRunner().invoke(app, ["cliff", "show", "zzzz", "--db", url])
    assert unknown.exit_code == 2


def test_a_long_course_is_drawn_by_its_means() -> None:
    assert len(bars([0.5] * 1000)) == 72
    assert bars([0.0, 1.0]) == "▁█"
    assert bars([-0.1, 1.2]) == "▁█"
