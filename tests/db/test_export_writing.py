"""How an export is written: in batches and shards, whole or not at all, with a card that counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from db import exporters, labels
from db.exporters import eligible, files
from db.labels import Label
from db.store import Store
from tests.db.builders import RunBuilder, opened
from workers.interface import ConfigError, StoreError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def filled(store: Store, n: int) -> RunBuilder:
    run = RunBuilder(store)
    seed = run.seed("seed", refusals=(0.1,))
    for number in range(n):
        run.evaluated(f"prompt {number}", (seed,), fitness=-number / 100)
    return run


def instructions(out: Path) -> list[str]:
    return list(datasets.load_dataset(str(out), "test", split="test")["instruction"])


def test_shards_bear_their_number_and_load_in_order(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, 23)
    monkeypatch.setattr(eligible, "_SMALLEST", 4)
    monkeypatch.setattr(eligible, "_LARGEST", 4)
    monkeypatch.setattr(files, "_GROUP_ROWS", 5)
    monkeypatch.setattr(files, "_SHARD_ROWS", 10)
    exporters.export(store, "test", tmp_path / "out")
    shards = sorted((tmp_path / "out" / "data" / "test").glob("*.parquet"))
    assert [s.name for s in shards] == [f"test-{n:05d}-of-00002.parquet" for n in range(2)]
    assert pq.ParquetFile(shards[0]).metadata.num_row_groups == 2
    assert instructions(tmp_path / "out") == [f"prompt {n}" for n in range(23)]
    lines = (tmp_path / "out" / "data" / "test" / "test.jsonl").read_text().splitlines()
    assert [json.loads(line)["instruction"] for line in lines] == [f"prompt {n}" for n in range(23)]


def test_batches_change_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, 17)
    whole = exporters.export(store, "dpo", tmp_path / "whole")
    monkeypatch.setattr(eligible, "_SMALLEST", 3)
    monkeypatch.setattr(eligible, "_LARGEST", 3)
    parts = exporters.export(store, "dpo", tmp_path / "parts")
    assert parts | {"out": ""} == whole | {"out": ""}


def test_long_responses_make_batches_smaller(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunBuilder(store)
    seed = run.seed("seed", refusals=(0.1,))
    for number in range(30):
        said = ("no" * 500, "yes" * 500)
        run.evaluated(f"p{number}", (seed,), refusals=(0.9, 0.4), responses=said)
    monkeypatch.setattr(eligible, "_SMALLEST", 2)
    monkeypatch.setattr(eligible, "_CHARACTERS", 10_000)
    with eligible.select_eligible(store) as selected:
        sizes = [len(b) for b in selected.batches({eligible.Reads.RESPONSES})]
        assert sum(sizes) == 30
        assert max(sizes) <= 4
        assert len(next(iter(selected.batches()))) == 2


def test_a_limit_counts_what_it_cut_off(store: Store, tmp_path: Path) -> None:
    filled(store, 9)
    done = exporters.export(store, "test", tmp_path / "out", limit=4)
    assert done["rows"] == {"test": 4}
    assert "5 beyond the limit" in (tmp_path / "out" / "README.md").read_text()


def test_the_most_novel_come_first_and_all_come(store: Store) -> None:
    run = RunBuilder(store)
    seed = run.seed("seed", refusals=(0.1,))
    run.evaluated("usual", (seed,), fitness=-0.1, vector=[1.0, 0.0])
    run.evaluated("alike", (seed,), fitness=-0.2, vector=[0.99, 0.141])
    run.evaluated("other", (seed,), fitness=-0.3, vector=[-1.0, 0.0])
    rows = exporters.rows(store, "test", sort="novelty")
    assert rows[0]["instruction"] == "other"
    assert len(rows) == 3


def test_the_card_measures_gates_and_judges_by_what_people_said(
    store: Store, tmp_path: Path
) -> None:
    run = filled(store, 4)
    exporters.export(store, "dpo", tmp_path / "before")
    before = (tmp_path / "before" / "README.md").read_text()
    assert "| safety gate | g@1 | 0 | unmeasured | - | - |" in before
    first, second, third, _ = (r["prompt_id"] for r in exporters.rows(store, "test"))
    said = [Label("ann", "harmless", first), Label("ann", "controversial", second)]
    for index, label in ((0, "refusal"), (1, "answer"), (2, "answer")):
        said.append(Label("ann", label, third, run.target_id, index))
    labels.put(store, said)
    exporters.export(store, "dpo", tmp_path / "after")
    card = (tmp_path / "after" / "README.md").read_text()
    assert "| safety gate | g@1 | 2 | 0.500 | 1 | 0 |" in card
    assert "| judge | j@1 | 3 | 0.667 | 0 | 1 |" in card
    assert "| safety gate | human:ann@1 | a person | - | - | - |" in card


HOSTILE = [
    "'; DROP TABLE prompts; --",
    '%_\\ "quoted" | <b>bold</b> `code` ---',
    "\x1b[31mred\r\n\ttab\x07",
    "\u202eturned\u2028line\u2029par\x85next",
]


def test_hostile_text_arrives_as_it_is_and_does_not_break_the_card(
    store: Store, tmp_path: Path
) -> None:
    run = RunBuilder(store)
    seed = run.seed(HOSTILE[0], refusals=(0.1,))
    for text in HOSTILE[1:]:
        run.evaluated(text, (seed,))
    (tmp_path / "b.jsonl").write_text(json.dumps({"prompt": HOSTILE[2]}) + "\n")
    exporters.export(store, "test", tmp_path / "out", against=str(tmp_path / "b.jsonl"))
    assert sorted(instructions(tmp_path / "out")) == sorted(HOSTILE[1:])
    lines = (tmp_path / "out" / "data" / "test" / "test.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["instruction"] for line in lines) == sorted(HOSTILE[1:])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "\x1b" not in card
    assert exporters.rows(store, "test", like="'; DROP") == []
    assert len(exporters.rows(store, "test", like="%_\\")) == 1


_CAPPED = """
    import resource, signal, sys
    import db
    from db import exporters
    from workers.interface import StoreError
    store = db.open(sys.argv[1], read_only=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    try:
        exporters.export(store, "all", sys.argv[2])
    except StoreError as error:
        print(error)
        sys.exit(1)
"""


@pytest.mark.parametrize("limit", [0, 300, 3_000, 7_000, 20_000])
def test_a_disk_that_is_full_in_mid_export_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files fails a write as a full disk does, wherever it is met."""
    (tmp_path / "store").mkdir()
    with opened(tmp_path / "store") as store:
        filled(store, 40)
    out = tmp_path / "deep" / "out"
    url = f"sqlite:///{tmp_path}/store/test.db"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_CAPPED), url, str(out), str(limit)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    assert "cannot be written: File too large; nothing was left there" in line
    assert done.stderr == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store"]


def test_a_folder_without_permission_is_one_line(store: Store) -> None:
    filled(store, 1)
    with pytest.raises(
        StoreError, match="--out /proc/out: cannot be written"
    ):  # nobody may, nor root
        exporters.export(store, "test", Path("/proc/out"))


def test_the_same_prompt_of_another_target_leaves_once_and_the_better_one(store: Store) -> None:
    first, second = RunBuilder(store, "a"), RunBuilder(store, "b", system_prompt="x")
    first.evaluated("text", (first.seed("s", refusals=(0.1,)),), fitness=-0.2)
    second.evaluated("text", (second.seed("s", refusals=(0.1,)),), fitness=-0.1)
    (row,) = exporters.rows(store, "test")
    assert row["run_name"] == "b"


def test_a_better_row_that_must_stay_does_not_hide_another(store: Store) -> None:
    """The second run's gates did not all speak; the first run's row still leaves."""
    first = RunBuilder(store, "first")
    first.evaluated("text", (first.seed("s", refusals=(0.1,)),), fitness=-0.5)
    second = RunBuilder(store, "second", gates=("g", "h"))
    second.evaluated("text", (second.seed("s", refusals=(0.1,)),), fitness=-0.1)
    (row,) = exporters.rows(store, "test")
    assert row["run_name"] == "first"


def test_the_door_asks_the_decisions_and_not_the_column(store: Store, tmp_path: Path) -> None:
    from sqlalchemy import update

    from db.models import Evaluation, Proposal

    run = RunBuilder(store)
    run.evaluated("text", (run.seed("s", refusals=(0.1,)),), gates={"g": "controversial"})
    with store.writing() as connection:
        for table in (Evaluation, Proposal):
            connection.execute(update(table).values(safety="harmless"))
    assert exporters.rows(store, "test") == []
    with pytest.raises(ConfigError, match="harmless by every gate"):
        exporters.export(store, "test", tmp_path / "out")
