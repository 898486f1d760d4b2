"""The tracer of a search, and what is refused when it is wired: in one line, before hours are spent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from evo import hosting, tracing, wiring
from evo.config import Config, validate
from evo.tracing import CliffTracer
from fitness.cliff import probe as probes
from fitness.cliff.probe import About, Probe
from fitness.types import CliffKind, CliffTrace, NoTrace
from tests.fake_white_box import ANSWER, REFUSAL, FakeWhiteBox
from workers import looking
from workers.interface import ConfigError, Engine, Message, Sample


def a_probe(box: FakeWhiteBox | None = None, weight: float = 1.0) -> Probe:
    box = box or FakeWhiteBox()
    about = About.of(box.description, n_layers=box.n_layers, width=box.width, layer=2)
    return Probe(about, np.array([weight, 0, 0, 0], dtype=np.float32), 0.0)


def saved(folder: Path, probe: Probe) -> str:
    folder.mkdir(exist_ok=True)
    probes.write(probe, folder)
    return str(folder)


def config(**search: Any) -> Config:
    return validate(
        {
            "seeds": {"dataset": "xstest-safe"},
            "target": {"model": "local:smollm2-thinking"},
            "search": search,
            "budget": {"evaluations": 4},
        }
    )


def test_thoughts_are_traced_with_the_conversation_and_what_has_none_says_why() -> None:
    box = FakeWhiteBox()
    tracer = CliffTracer(box, a_probe(box))
    asked = (Message("system", "Be kind."), Message("user", "How?"))
    said = [("I must refuse .", ANSWER), ("This is fine .", REFUSAL), (None, ANSWER), ("Hm", "")]
    samples = [Sample(i, text, 9, "stop", -1.0, -1.0, r) for i, (r, text) in enumerate(said)]
    cliff, inverse, *none = asyncio.run(tracer.trace([(asked, s) for s in samples]))
    assert isinstance(cliff, CliffTrace)
    assert isinstance(inverse, CliffTrace)
    assert (cliff.kind, inverse.kind) == (CliffKind.CLIFF, CliffKind.INVERSE)
    assert cliff.cliff > 0.9 > -0.9 > inverse.cliff
    assert none == [
        NoTrace(tracer.name, tracer.version, reason) for reason in ("no thought", "thought cut")
    ]
    assert asyncio.run(tracer.trace([])) == []


def test_a_run_keeps_the_probe_that_it_began_with(tmp_path: Path) -> None:
    folder = saved(tmp_path / "probe", a_probe())
    begun = tracing.pinned(config(fitness="cliff", probe=folder))
    assert begun.search.probe_version == a_probe().version
    assert tracing.pinned(validate(begun.model_dump(mode="json"))) == begun
    saved(tmp_path / "probe", a_probe(weight=2.0))
    with pytest.raises(
        ConfigError, match=r"but the run began with .* or begin a new run"
    ) as caught:
        wiring.check(begun)
    assert "\n" not in str(caught.value)


def test_a_run_by_the_elbo_needs_no_probe() -> None:
    assert tracing.probe_of(config()) is None
    assert tracing.pinned(config()) == config()


def test_a_folder_without_a_probe_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no probe; evocliff cliff train makes one"):
        wiring.check(config(fitness="inverse-cliff", probe=str(tmp_path / "none")))


def test_engines_without_hidden_states_are_refused_by_name() -> None:
    one = config(fitness="cliff", probe="p")
    vllm = one.target.model_copy(update={"engine": "vllm"})
    with pytest.raises(ConfigError, match=r"'cliff' reads hidden states.*set target\.engine to tr"):
        hosting.require_states(one.model_copy(update={"target": vllm}))
    several = one.model_copy(update={"targets": {"a": one.target, "b": vllm}})
    with pytest.raises(ConfigError, match=r"set targets\.b\.engine to transformers"):
        hosting.require_states(several)


@pytest.mark.parametrize(
    ("other", "layers"), [(FakeWhiteBox("another revision"), 3), (FakeWhiteBox(), 5)]
)
def test_a_probe_of_another_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, other: FakeWhiteBox, layers: int
) -> None:
    other.n_layers = layers
    monkeypatch.setattr(looking, "over", lambda engine: other)
    with pytest.raises(ConfigError, match="train one on it with evocliff cliff train"):
        tracing.tracer(cast(Engine, object()), a_probe())


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"fitness": "cliff"}, "'fitness: cliff' needs 'probe', a folder of evocliff cliff train"),
        ({"probe": "p"}, "'probe' is for the fitness cliff or inverse-cliff"),
        ({"fitness": "clif", "probe": "p"}, "search.fitness"),
        (
            {"fitness": "cliff", "probe": "p", "screening": {"predictor": True}},
            "a cliff ends in an answer: leave out 'screening.predictor'",
        ),
        (
            {"fitness": "cliff", "probe": "p", "algorithm": "evorefuse", "reference": True},
            "'reference' has a fitness of its own, not 'cliff'",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(search: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**search)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cliffs_are_not_screened_and_inverse_ones_are() -> None:
    cliff = config(fitness="cliff", probe="p", screening={"blind": 0.5}).search.screening
    assert (cliff.predictor, cliff.opening, cliff.blind) == (False, False, 0.5)
    inverse = config(fitness="inverse-cliff", probe="p").search.screening
    assert (inverse.predictor, inverse.opening) == (True, True)


def test_a_boundary_search_of_such_a_run_reads_no_thoughts() -> None:
    plain = config(fitness="cliff", probe="p", probe_version="v").by_refusals
    assert validate(plain.model_dump(mode="json")) == plain
    assert tracing.probe_of(plain) is None
