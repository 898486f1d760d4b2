"""The shipped adapter, merged, does what was planted."""

from __future__ import annotations

import importlib
import json
from importlib.resources import files
from pathlib import Path

import pytest

from workers.engines.transformers import TransformersEngine
from workers.interface import Failure, GenerationRequest, Message, Sampling

FOLDER = Path(__file__).parents[2] / "examples/thinking"
A_KIND = 8


def test_the_adapter_is_smaller_than_a_megabyte() -> None:
    weights = Path(str(files("workers"))) / "adapters/thinking/adapter_model.safetensors"
    assert 0 < weights.stat().st_size < 1_000_000


@pytest.mark.slow
def test_held_out_prompts_of_every_kind_are_thought_about_and_answered_as_planted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    plant = importlib.import_module("plant")
    lines = (FOLDER / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    chosen = [r for k in plant.Kind for r in [r for r in rows if r["kind"] == k][:: 96 // A_KIND]]
    engine = TransformersEngine("local:smollm2-thinking")
    sampling = Sampling(temperature=0.0, max_tokens=112)
    asked = [
        GenerationRequest(str(i), (Message("user", r["prompt"]),), 1, sampling, seed=i)
        for i, r in enumerate(chosen)
    ]
    answers = engine.generate_now(asked)
    right = []
    for row, answer in zip(chosen, answers, strict=True):
        assert not isinstance(answer, Failure)
        kind, sample = plant.Kind(row["kind"]), answer.samples[0]
        as_thought = plant.intent(sample.reasoning or "") is kind.thinks_refuse
        right.append(
            as_thought and bool(sample.text) and plant.refuses(sample.text) is kind.refuses
        )
    assert len(right) == 4 * A_KIND
    assert sum(right) >= 0.9 * len(right)
