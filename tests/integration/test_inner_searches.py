"""Searches that look inside a real model: by the cliffs in its thoughts, and behind its latent guard."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import importlib
import json
import random
from importlib import resources
from pathlib import Path
from statistics import fmean

import pytest
from typer.testing import CliRunner

import db
import evo
from db import traces
from evo import api, cliffs, replaying, tracing, wiring
from evo.cli import app
from evo.cliffs import Item
from evo.config import EngineConfig, validate
from evo.looking import white_box
from fitness.cliff import probe as probes
from fitness.types import CliffTrace, NoTrace, Safety
from tests.db.test_traced_samples import Trace
from workers.interface import ConfigError, StoredResponse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
LAYER = 24


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of the organism's layer 24, of thoughts and answers as they are planted."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "examples/thinking"))
        plant = importlib.import_module("plant")
    folder = tmp_path_factory.mktemp("inner") / "probe"
    rng = random.Random(0)
    items = []
    for n, request in enumerate(plant.probe_pool(rng)[::7]):
        e = plant.example(rng, request)
        said = StoredResponse(e.thinking, e.response)
        harmful, refused = request.kind.thinks_refuse, request.kind.refuses
        items.append(Item(request.prompt, said, f"part {n % 4}", harmful, refused))
    box = white_box(EngineConfig(model="local:smollm2-thinking"))
    made, _ = asyncio.run(cliffs.train_probe(items, box, layer=LAYER))
    folder.mkdir()
    probes.write(made, folder)
    return folder


def test_a_search_climbs_the_inverse_cliffs_of_the_thinking_organism(
    tmp_path: Path, trained: Path
) -> None:
    lines = (ROOT / "examples/thinking/held_out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "inverse"]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[:2]))
    config = validate(
        {
            "seeds": {"path": str(tmp_path / "seeds.jsonl")},
            "target": {"model": "local:smollm2-thinking", "sampling": {"max_tokens": 112}},
            "search": {
                "fitness": "inverse-cliff",
                "probe": str(trained),
                "samples": {"first": 2, "max": 2},
                "batch": 4,
                "in_flight": 1,
            },
            "budget": {"evaluations": 3, "wall_clock": 15},
        }
    )
    url = f"sqlite:///{tmp_path}/inner.db"
    run = evo.search(config, store=url)
    assert run.status == "finished"
    with contextlib.closing(db.open(url, read_only=True)) as store:
        outcomes = store.replay(run.run_id, samples=True)
        untraced = sum(traces.no_traces(store, run.run_id).values())
    evaluations = [o.evaluation for o in outcomes if o.evaluation]
    assert len(evaluations) >= 2
    read: list[Trace] = []
    for evaluation in evaluations:
        found = [s.trace for s in evaluation.samples]
        assert all(isinstance(trace, CliffTrace | NoTrace) for trace in found)
        read += [trace for trace in found if trace is not None]
        mean = fmean(t.final - t.plateau for t in found if isinstance(t, CliffTrace))
        assert evaluation.score.fitness == pytest.approx(mean)
    assert sum(isinstance(t, NoTrace) for t in read) <= untraced
    assert max(e.score.fitness for e in evaluations) > 0, "no planted inverse cliff was seen"
    assert replaying.replay(url, run.run_id).differing == 0
    # Another probe does not go on with this run.
    stored = api.stored_config(url, run.run_id)
    assert stored.search.probe_version == probes.read(trained).version
    assert stored == tracing.pinned(config)


def test_a_probe_of_the_thinking_organism_is_refused_by_another_model_and_by_no_thought(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {"fitness": "cliff", "probe": str(trained)}
    raw = {"seeds": {"dataset": "xstest-safe"}, "budget": {"evaluations": 1}, "search": search}
    probe = probes.read(trained)
    other = {"target": {"model": "local:smollm2-overcautious"}}
    with pytest.raises(ConfigError, match="train one on it with evocliff cliff train"):
        wiring._evaluator(raw | other, 1, probe=probe)
    own = wiring._evaluator(raw | {"target": {"model": "local:smollm2-thinking"}}, 1, probe=probe)
    tokenizer = own.engine.loaded.tokenizer  # type: ignore[attr-defined]
    closing = "{% if add_generation_prompt %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template + closing)
    with pytest.raises(ConfigError, match="ends the thought before the answer begins"):
        tracing.tracer(own.engine, probe)


def test_a_guard_is_fitted_on_the_over_cautious_model_and_stands_before_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (resources.files("evo.seeds") / "xstest_prompts.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    with Path("labelled.csv").open("w", newline="") as file:
        written = csv.writer(file)
        written.writerow(["prompt", "harmful", "refused"])
        for label in ("safe", "unsafe"):
            for row in [r for r in rows if r["label"] == label][::12]:
                written.writerow([row["prompt"], label == "unsafe", label == "unsafe"])
    fitting = ["cliff", "guard", "labelled.csv", "--model", "local:smollm2-overcautious"]
    done = CliRunner().invoke(app, [*fitting, "--out", "guard.npz", "--json"])
    assert done.exit_code == 0, done.output
    version = json.loads(done.stdout)["version"]
    config = validate(
        {
            "seeds": {"dataset": "xstest-safe", "limit": 6},
            "target": {"model": "local:smollm2-overcautious", "sampling": {"max_tokens": 12}},
            "safety": ["seed-contrast", "latent-guard:guard.npz"],
            "search": {"samples": {"first": 2, "max": 2}, "batch": 6},
            "budget": {"evaluations": 6, "wall_clock": 30, "proposals": 40},
        }
    )
    url = f"sqlite:///{tmp_path}/inner.db"
    run = evo.search(config, store=url)
    with contextlib.closing(db.open(url, read_only=True)) as store:
        outcomes = store.replay(run.run_id)
    gated = [o for o in outcomes if o.gate_decisions]
    assert len(gated) >= 6
    for outcome in gated:
        _, guard = outcome.gate_decisions
        assert (guard.gate, guard.version) == ("latent-guard:guard.npz", version)
        assert guard.reason.startswith("delta_harmful")
        if outcome.evaluation is not None:
            assert guard.outcome is Safety.HARMLESS
    said = [o.gate_decisions[1].outcome for o in gated]
    assert Safety.HARMLESS in said
    signed = CliRunner().invoke(
        app, ["cliff", "signatures", "guard.npz", "--run", run.run_id, "--db", url, "--json"]
    )
    assert signed.exit_code == 0, signed.output
    assert sum(json.loads(signed.stdout).values()) == sum(o.evaluation is not None for o in gated)
