"""Splits that do not leak, and benchmarks that are found again in an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db import exporters
from db.exporters.plan import parse_split
from db.store import Store
from evo.types import Seed
from tests.db.builders import RunBuilder, opened
from workers.interface import ConfigError

HALVES = {"train": 0.5, "test": 0.5}


def sides(out: Path, config: str = "test") -> dict[str, dict[str, Any]]:
    """Rows by prompt, with the side that they are on."""
    found: dict[str, dict[str, Any]] = {}
    for path in (out / "data" / config).glob("*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            assert row["prompt_id"] not in found
            found[row["prompt_id"]] = row | {"side": path.stem.removeprefix(f"{config}-")}
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_relatives_and_look_alikes_are_on_one_side(tmp_path: Path, seed: int) -> None:
    chance = np.random.default_rng(seed)
    with opened(tmp_path) as store:
        run = RunBuilder(store)
        made = [
            run.seed(f"seed {n}", refusals=(0.1,), vector=[float(i == n) for i in range(16)])
            for n in range(8)
        ]
        ancestors = [{n} for n in range(8)]
        exported: dict[str, tuple[set[int], NDArray[np.float64]]] = {}
        first = chance.normal(size=16)
        for n in range(14):
            places = chance.choice(8 if n < 7 else len(made), size=1 + (n % 6 == 5), replace=False)
            vector = (
                first + 0.01 * chance.normal(size=16) if n in (1, 5) else chance.normal(size=16)
            )
            vector /= np.linalg.norm(vector)
            # Half of them stay behind: they are refused too seldom, and still are ancestors.
            refusals = (0.9, 0.9) if n % 2 else (0.1, 0.1)
            parents = [made[p] for p in places]
            child = run.evaluated(f"child {n}", parents, refusals=refusals, vector=vector.tolist())
            made.append(child)
            ancestors.append({len(ancestors)}.union(*(ancestors[p] for p in places)))
            if n % 2:
                exported[child.prompt_id] = (ancestors[-1], vector)
        exporters.export(store, "test", tmp_path / "out", split=HALVES, seed=seed)
    rows = sides(tmp_path / "out")
    assert rows.keys() == exported.keys()
    together = 0
    for one, (family, vector) in exported.items():
        for other, (others, near) in exported.items():
            if one < other and (family & others or vector @ near >= 0.95):
                together += 1
                assert rows[one]["side"] == rows[other]["side"]
    assert together
    assert {row["side"] for row in rows.values()} == {"train", "test"}


def test_a_split_is_the_same_for_the_same_seed_and_every_config_follows_it(
    store: Store, tmp_path: Path
) -> None:
    run = RunBuilder(store)
    for n in range(12):
        run.evaluated(f"child {n}", (run.seed(f"seed {n}", refusals=(0.1,)),))
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done = exporters.export(store, "all", tmp_path / name, split=HALVES, seed=seed)
        assert sum(done["splits"]["test"].values()) == done["rows"]["test"] == 12
        found.append({p: row["side"] for p, row in sides(tmp_path / name).items()})
        assert (
            found[-1].items()
            >= {p: row["side"] for p, row in sides(tmp_path / name, "dpo").items()}.items()
        )
    assert found[0] == found[1] != found[2]
    card = (tmp_path / "a" / "README.md").read_text()
    assert "train, test, by seed 0. The 12 prompts are 12 groups" in card


def test_one_lineage_cannot_be_split(store: Store, tmp_path: Path) -> None:
    run = RunBuilder(store)
    seed = run.seed("s", refusals=(0.1,))
    for n in range(3):
        run.evaluated(f"child {n}", (seed,))
    with pytest.raises(ConfigError, match="the 3 rows are 1 groups that cannot be cut"):
        exporters.export(store, "test", tmp_path / "out", split=HALVES)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text", ["train", "train=x", "train=0.5,train=0.5", "../up=0.5,b=0.5", "=1", "a=0.5,,b=0.5"]
)
def test_shares_that_are_none_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--split "):
        parse_split(text)


@pytest.fixture
def run(store: Store) -> RunBuilder:
    run = RunBuilder(store)
    seed = run.seed("seed", refusals=(0.1,), vector=[0.0, 1.0])
    run.evaluated("Kill  a process", (seed,), vector=[1.0, 0.0])
    run.evaluated("Stop a process", (seed,), vector=[0.6, 0.8])
    run.evaluated("Bake a cake", (seed,), vector=[0.0, -1.0])
    return run


def test_what_a_benchmark_holds_is_counted_named_and_dropped(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text('{"prompt": "ＫＩＬＬ a process"}\n{"prompt": "End a process"}\n')

    def embed(name: str, texts: Any) -> Any:
        assert (name, list(texts)) == ("e", ["End a process"])  # the other one has a vector
        return np.array([[0.6, 0.8]], dtype=np.float32)

    options: dict[str, Any] = {"against": str(benchmark), "embed": embed}
    done = exporters.export(store, "test", tmp_path / "kept", **options)
    assert (done["contaminated"], done["rows"]) == (2, {"test": 3})
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "Compared with the 2 prompts of bench.jsonl: 1 prompts are there word for word" in card
    assert "1 are near-duplicates" in card
    assert "They are still here." in card
    assert "| same text | Kill a process |" in card
    options["drop_contaminated"] = True
    exporters.export(store, "test", tmp_path / "dropped", **options)
    assert [r["instruction"] for r in sides(tmp_path / "dropped").values()] == ["Bake a cake"]
    assert "They were left out." in (tmp_path / "dropped" / "README.md").read_text()


def test_a_benchmark_may_be_a_source_in_the_store(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    store.register_seeds([Seed("stop a PROCESS", "xstest-unsafe", None, None)])
    done = exporters.export(store, "test", tmp_path / "out", against="xstest-safe")
    assert done["contaminated"] == 0
    assert (
        "Compared with the 1 prompts of xstest-safe" in (tmp_path / "out" / "README.md").read_text()
    )


def test_without_vectors_the_benchmark_is_compared_as_text(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text("prompt\nstop a process\nsomething else\n")
    done = exporters.export(store, "test", tmp_path / "out", against=str(tmp_path / "b.csv"))
    assert done["contaminated"] == 1
    assert "1 of the benchmark had no vector" in (tmp_path / "out" / "README.md").read_text()


def test_a_benchmark_that_is_nowhere_is_one_line(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--against nowhere: neither a source"):
        exporters.export(store, "test", tmp_path / "out", against="nowhere")
    assert not (tmp_path / "out").exists()


def test_an_export_that_is_all_benchmark_says_so(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text("prompt\nkill a process\nstop a process\nbake a cake\n")
    with pytest.raises(ConfigError, match=r"all 3 prompts are in b\.csv"):
        exporters.export(
            store, "test", tmp_path / "o", against=str(tmp_path / "b.csv"), drop_contaminated=True
        )
