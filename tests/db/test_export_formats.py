"""The formats for KTO, LLaMA-Factory, refusal tokens and cliffs; each row is the target's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from db import exporters
from db.models import Cliff
from db.rows import insert_new
from db.store import Store
from tests.db.builders import ANSWER, REFUSAL, RunBuilder
from workers.interface import ConfigError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def run(store: Store) -> RunBuilder:
    """Two over-refusals, one of them always refused."""
    run = RunBuilder(store, system_prompt="Be brief.")
    seed = run.seed("seed", refusals=(0.1,))
    run.evaluated("sometimes", (seed,), refusals=(0.9, 0.99, 0.2, 0.05), fitness=-0.1)
    run.evaluated("always", (seed,), refusals=(0.9, 0.8), fitness=-0.5)
    return run


def load(out: Path, name: str, split: str = "train") -> Any:
    return datasets.load_dataset(str(out), name, split=split)


def test_kto_wants_answers_and_not_refusals(store: Store, run: RunBuilder, tmp_path: Path) -> None:
    exporters.export(store, "kto", tmp_path / "out", min_refusal=0.3)
    rows = list(load(tmp_path / "out", "kto"))
    said = [(r["prompt"][-1]["content"], r["completion"][0]["content"], r["label"]) for r in rows]
    assert said == [
        ("sometimes", f"{ANSWER} 0.05", True),
        ("sometimes", f"{REFUSAL} 0.99", False),
        ("always", f"{REFUSAL} 0.9", False),
    ]
    assert [(r["sample"], r["p_refusal"]) for r in rows] == [(3, 0.05), (1, 0.99), (0, 0.9)]
    assert rows[0]["prompt"][0] == {"role": "system", "content": "Be brief."}


def test_sharegpt_rows_have_the_turns_that_llama_factory_keeps(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    """Of its converter: after the system turn an even number for SFT, an odd one for ranking."""
    out = tmp_path / "out"
    exporters.export(store, "sharegpt", out, min_refusal=0.3)
    (row,) = load(out, "sharegpt-sft")
    assert [turn["from"] for turn in row["conversations"]] == ["system", "human", "gpt"]
    (pair,) = load(out, "sharegpt-dpo")
    assert [turn["from"] for turn in pair["conversations"]] == ["system", "human"]
    assert pair["chosen"] == {"from": "gpt", "value": f"{ANSWER} 0.05"}
    assert pair["rejected"] == {"from": "gpt", "value": f"{REFUSAL} 0.99"}
    assert (pair["chosen_sample"], pair["rejected_sample"]) == (3, 1)
    info = json.loads((out / "dataset_info.json").read_text())
    assert info["evocliff-sharegpt-dpo"] == {
        "file_name": "data/sharegpt-dpo/sharegpt-dpo.jsonl",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    }
    for entry in info.values():
        assert set(entry["columns"].values()) <= set(
            json.loads((out / entry["file_name"]).read_text().splitlines()[0])
        )


def test_a_refusal_token_says_what_the_response_is(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    exporters.export(store, "refusal-tokens", tmp_path / "out", min_refusal=0.3)
    single, category = (list(load(tmp_path / "out", name)) for name in ("single", "category"))
    said = [row["messages"][-1]["content"] for row in single]
    assert said == [
        f"[respond] {ANSWER} 0.05",
        f"[refuse] {REFUSAL} 0.99",
        f"[refuse] {REFUSAL} 0.9",
    ]
    assert [row["token"] for row in category] == [
        "[respond]",
        "[refuse:homonyms]",
        "[refuse:homonyms]",
    ]
    assert [row["is_refusal"] for row in category] == [False, True, True]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`[respond]`, `[refuse:homonyms]`, `[refuse]`" in card


def test_cliffs_leave_with_what_the_target_thought(
    store: Store, run: RunBuilder, tmp_path: Path
) -> None:
    made = run.evaluated("harmful", (), gates={"g": "controversial"}, refusals=(0.9, 0.9))
    with store.writing() as connection:
        for prompt_id in (exporters.rows(store, "test")[0]["prompt_id"], made.prompt_id):
            row = {
                "target_id": run.target_id,
                "prompt_id": prompt_id,
                "sample_index": 1,
                "probe": "p",
                "version": "1",
                "plateau": 0.8,
                "final": 0.1,
                "cliff": 0.7,
                "position": 12,
                "n_tokens": 40,
                "kind": "cliff",
            }
            insert_new(connection, Cliff, [row])
    exporters.export(store, "cliff", tmp_path / "out")
    (row,) = load(tmp_path / "out", "cliff")
    assert (row["instruction"], row["response"]) == ("sometimes", f"{REFUSAL} 0.99")
    assert (row["plateau"], row["final"], row["cliff"], row["position"]) == (0.8, 0.1, 0.7, 12)


def test_without_cliffs_one_line_says_so(store: Store, run: RunBuilder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has a refusal cliff that was measured; no probe"):
        exporters.export(store, "cliff", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_config_has_the_provenance_and_the_columns_of_its_schema(
    store: Store, run: RunBuilder
) -> None:
    for configs in exporters.FORMATS.values():
        for config in configs:
            for row in exporters.rows(store, config.name):
                assert list(row) == config.schema.names
                assert row["run"] == run.run_id
                assert row["seed_prompt"] == "seed"


def test_rows_of_several_configs_are_asked_for_one_by_one(store: Store, run: RunBuilder) -> None:
    with pytest.raises(ConfigError, match="one of sharegpt-sft, sharegpt-dpo"):
        exporters.rows(store, "sharegpt")
    assert len(exporters.rows(store, "sharegpt-dpo")) == 1


def test_a_judge_without_a_stored_version_decides_by_its_last_one(store: Store) -> None:
    from sqlalchemy import update

    from db.models import Evaluation, Verdict

    run = RunBuilder(store)
    made = run.evaluated("hit", (run.seed("s"),), refusals=(0.9, 0.1))
    with store.writing() as connection:
        connection.execute(update(Evaluation).values(judges=None))
        for index, p in ((0, 0.2), (1, 0.8)):  # a later version thinks the other way round
            row = {"target_id": run.target_id, "prompt_id": made.prompt_id, "sample_index": index}
            verdict = {"judge": "j", "version": "2", "p_refusal": p, "unscored_reason": None}
            insert_new(connection, Verdict, [row | verdict | {"response_class": None}])
    (row,) = exporters.rows(store, "dpo")
    assert (row["chosen_sample"], row["rejected_sample"]) == (0, 1)
    assert row["judges"] == ["j@1", "j@2"]
