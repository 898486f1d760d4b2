"""Latent guards from a user's file, and what is refused before a model is loaded."""

from __future__ import annotations

import asyncio
import csv
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from evo import guarding, hosting, wiring
from evo.config import Config
from evo.guarding import Labelled
from fitness.safety.latent_guard import Kind
from tests.fitness.test_latent_guard import FakeBox
from workers.interface import ConfigError


class Box(FakeBox):
    n_layers = 2


def config(**changes: Any) -> Config:
    target = {"engine": "transformers", "model": "local:smollm2"}
    given: dict[str, Any] = {"seeds": {"dataset": "xstest-safe"}, "target": target}
    return Config.model_validate(given | {"budget": {"evaluations": 5}} | changes)


def test_labels_are_read_in_the_usual_words(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("prompt,harmful,refused\nhow,yes,True\nwhy,0,no\n")
    assert guarding.labelled(path, "prompt", "harmful", "refused") == [
        Labelled("how", True, True),
        Labelled("why", False, False),
    ]
    path.write_text("prompt,harmful,refused\nhow,perhaps,no\n")
    with pytest.raises(ConfigError, match=r"'harmful' is 'perhaps'; write true or false"):
        guarding.labelled(path, "prompt", "harmful", "refused")


def test_a_guard_is_fitted_over_every_layer_but_the_embeddings() -> None:
    data = [
        Labelled(f"{kind} {n}", "harm" in kind, "refuse" in kind)
        for kind in ("harm refuse", "plain")
        for n in range(4)
    ]
    box: Any = Box()
    guard, quality = asyncio.run(guarding.fitted(data, box, Kind.AUGMENTED))
    assert guard.layers == (1, 2)
    assert quality is None
    with pytest.raises(ConfigError, match="'too long': overlong"):
        asyncio.run(guarding.fitted([Labelled("too long", True, True)], box, Kind.BASE))
    with pytest.raises(ConfigError, match="holds no row"):
        asyncio.run(guarding.fitted([], box, Kind.BASE))


def test_a_guard_looks_into_the_target_or_into_a_named_engine() -> None:
    own = config(safety=["latent-guard:g.npz"])
    (settings,) = hosting.guard_engines(own).values()
    assert (settings.model, settings.most_replicas) == ("local:smollm2", 1)
    assert [name for name, _ in hosting.pools(own)] == ["target", "guard"]
    other = {"engine": "transformers", "model": "local:other"}
    named = config(safety=["latent-guard:g.npz@big"], engines={"big": other})
    (settings,) = hosting.guard_engines(named).values()
    assert settings.model == "local:other"


def test_a_target_without_hidden_states_is_refused_when_things_are_wired() -> None:
    hosted = {"engine": "vllm", "model": "local:smollm2"}
    with pytest.raises(ConfigError, match=r"'latent-guard:g.npz' reads hidden states.*'vllm'"):
        wiring.check_names(config(safety=["latent-guard:g.npz"], target=hosted))


def test_a_linear_guard_is_measured_on_portions_where_no_prompt_has_a_topic() -> None:
    data = [
        Labelled(f"{kind} {n}", "harm" in kind, "refuse" in kind)
        for kind in ("harm refuse", "harm", "refuse", "plain")
        for n in range(5)
    ]
    more = [Labelled(f"harm more {n}", True, None) for n in range(5)]
    box: Any = Box()
    guard, quality = asyncio.run(guarding.fitted(data + more, box, Kind.LINEAR))
    assert guard.kind is Kind.LINEAR
    assert quality is not None
    assert quality.auroc == 1.0


def test_the_prompts_that_come_along_are_of_both_kinds_and_none_is_of_xstest() -> None:
    mine = guarding.contrast_prompts()
    assert len(mine) > 1000
    assert 0.3 < sum(d.harmful for d in mine) / len(mine) < 0.6
    assert {d.refused for d in mine} == {d.topic for d in mine} == {None}
    text = (resources.files("evo.seeds") / "xstest_prompts.csv").read_text(encoding="utf-8")
    theirs = [set(row["prompt"].lower().split()) for row in csv.DictReader(text.splitlines())]
    own = [set(d.prompt.lower().split()) for d in mine]
    assert max(len(a & b) / len(a | b) for a in own for b in theirs) < 0.7
