"""Training an adapter on the real SmolLM2: whole or not at all, resumed where it was, no loss that is no number."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workers import trainer
from workers.errors import ConfigError, TargetError
from workers.interface import (
    Failure,
    FirstToken,
    GenerationRequest,
    Message,
    Opening,
    Sampling,
)
from workers.trainer import Example, Method, Recipe, train

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    Example(f"What is {a} plus {b}?", "I would rather sing a song.", f"It is {a + b}.")
    for a in range(3)
    for b in range(4)
]
SHORT = Recipe(epochs=1, batch=6, rank=2, max_tokens=96, from_layer=20, save_steps=1)


def test_what_cannot_be_trained_starts_nothing(tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    with pytest.raises(ConfigError, match="no checkpoint of this training"):
        train("local", EXAMPLES, SHORT, out, resume=True)
    unpaired = [Example("How?", "So.")]
    for method in (Method.DPO, Method.KTO):
        with pytest.raises(ConfigError, match="no example has an answer that is not wanted"):
            train("local", unpaired, Recipe(method), out)
        with pytest.raises(ConfigError, match="new tokens are learned by sft"):
            train("local", EXAMPLES, Recipe(method, new_tokens=("[refuse]",)), out)
    out.mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        train("local", EXAMPLES, SHORT, out)


def test_rows_are_what_each_trainer_reads() -> None:
    def keys(method: Method) -> list[Any]:
        return [sorted(row) for row in trainer._rows(EXAMPLES[:1], method)]

    assert keys(Method.SFT) == [["completion", "prompt"]]
    assert keys(Method.DPO) == [["chosen", "prompt", "rejected"]]
    assert keys(Method.KTO) == [["completion", "label", "prompt"]] * 2
    assert trainer._rows([Example("How?", "So.")], Method.DPO) == []


def test_every_linear_layer_of_a_block_is_trained_and_the_head_is_not() -> None:
    from torch import nn

    def block() -> nn.Module:
        return nn.ModuleDict(
            {"attention": nn.ModuleDict({"query": nn.Linear(2, 2)}), "up": nn.Linear(2, 2)}
        )

    model = nn.ModuleDict(
        {
            "layers": nn.ModuleList([block(), block()]),
            "norm": nn.LayerNorm(2),
            "head": nn.Linear(2, 9),
        }
    )
    assert trainer._linear_layers(model) == ["query", "up"]


@pytest.fixture(scope="module")
def model() -> str:
    from workers import local_models

    return str(local_models.resolve("local:smollm2"))


@pytest.mark.slow
@pytest.mark.parametrize("method", list(Method))
def test_every_method_moves_the_model_towards_what_is_wanted(
    method: Method, model: str, tmp_path: Path
) -> None:
    told: list[tuple[int, int, float]] = []
    recipe = Recipe(
        method, epochs=4, batch=6, rank=4, max_tokens=96, from_layer=20, learning_rate=3e-3
    )
    made = train(
        model, EXAMPLES[:6], recipe, tmp_path / "adapter", told=lambda *step: told.append(step)
    )
    assert (made.examples, made.too_long, made.resumed) == (6, 0, False)
    adapted = json.loads((made.adapter / "adapter_config.json").read_text())
    assert len(adapted["target_modules"]) == 7
    assert adapted["layers_to_transform"] == list(range(20, 30))
    assert [step for step, _, _ in told] == list(range(1, made.steps + 1))
    # The rate warms up from nothing: what step 1 learns is seen in the loss of step 3 at the earliest.
    assert made.steps >= 3
    assert told[-1][2] < 0.95 * told[0][2]
    assert (made.adapter / "adapter_model.safetensors").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]
    from workers.engines.transformers import TransformersEngine

    engine = TransformersEngine("local:smollm2", adapter=str(made.adapter))
    request = GenerationRequest(
        "x", (Message("user", "What is 1 plus 2?"),), 1, Sampling(0.0, max_tokens=8), 0
    )
    (answer,) = engine.generate_now([request])
    assert engine.description.adapter is not None
    assert engine.description.adapter.startswith("adapter@")
    assert not hasattr(answer, "kind"), answer


@pytest.mark.slow
def test_new_tokens_are_learned_shown_in_openings_and_not_in_texts(
    model: str, tmp_path: Path
) -> None:
    from workers.engines.transformers import TransformersEngine

    examples = [
        *(
            replace(e, chosen=f"[respond] {e.chosen}", rejected="[refuse] No.")
            for e in EXAMPLES[:6]
        ),
        *(
            Example(f"Sing of {what}.", "[refuse] No, never.", "[respond] La la.")
            for what in ("love", "war", "rain", "bread", "ships", "snow")
        ),
    ]
    recipe = replace(SHORT, epochs=10, learning_rate=3e-3, rank=4, from_layer=15, save_steps=50)
    recipe = replace(recipe, new_tokens=("[refuse]", "[respond]"))
    made = train(model, examples, recipe, tmp_path / "adapter")
    engine = TransformersEngine("local:smollm2", adapter=str(made.adapter))
    asked = [
        GenerationRequest(e.prompt, (Message("user", e.prompt),), 1, Sampling(0.0, max_tokens=9), 0)
        for e in (examples[0], examples[-1])
    ]
    sums, songs = engine.open_now(asked)
    assert not isinstance(sums, Failure)
    assert not isinstance(songs, Failure)

    def log_odds(opening: Opening) -> float:
        p = dict(zip(opening.tokens, opening.logprobs, strict=True))
        return p.get("[respond]", -30.0) - p.get("[refuse]", -30.0)

    assert log_odds(sums) > 0 > log_odds(songs)
    for threshold in (-1e6, 1e6):
        rule = (FirstToken(("[refuse]",), threshold),)
        ruled = [replace(r, sampling=replace(r.sampling, first_token=rule)) for r in asked]
        for answer in engine.generate_now(ruled):
            assert not isinstance(answer, Failure)
            assert "[re" not in answer.samples[0].text
    assert sums.tokens[0] == "[respond]"
    assert songs.tokens[0] == "[refuse]"


@pytest.mark.slow
def test_a_loss_that_is_no_number_leaves_no_adapter(model: str, tmp_path: Path) -> None:
    wild = replace(SHORT, epochs=3, learning_rate=math.inf)
    with pytest.raises(TargetError, match=r"no numbers.*lower --lr"):
        train(model, EXAMPLES, wild, tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_weights_that_the_last_step_made_no_numbers_are_not_written(
    model: str, tmp_path: Path
) -> None:
    """No loss is reckoned after the last step, so no loss tells."""
    last = replace(SHORT, batch=12, learning_rate=math.inf)
    with pytest.raises(TargetError, match=r"no numbers after 1 step.*lower --lr"):
        train(model, EXAMPLES, last, tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


LIFE = """
import sys
from pathlib import Path
from tests.workers.test_trainer import EXAMPLES, SHORT
from workers.trainer import train
made = train(sys.argv[1], EXAMPLES, SHORT, Path(sys.argv[2]), resume=sys.argv[3] == "resume",
    about="data", told=lambda step, of, loss: print("step", step, flush=True))
print(made.resumed, made.steps)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(
    model: str, tmp_path: Path
) -> None:
    def start(out: Path, how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LIFE, model, str(out), how]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed, "new")
    checkpoint = tmp_path / ".killed.part" / ".checkpoints" / "checkpoint-1"
    deadline = time.monotonic() + 120
    while not (checkpoint / "trainer_state.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not killed.exists()
    output, _ = start(killed, "resume").communicate(timeout=600)
    assert output.splitlines()[-1] == "True 2", output
    start(whole, "new").communicate(timeout=600)
    from safetensors.torch import load_file

    a, b = (load_file(out / "adapter_model.safetensors") for out in (killed, whole))
    assert all((a[name] - b[name]).abs().max() < 1e-5 for name in a)
    with pytest.raises(ConfigError, match="exists already"):
        train(model, EXAMPLES, SHORT, killed, resume=True, about="data")


def test_a_training_of_other_data_is_not_gone_on_with(tmp_path: Path) -> None:
    part = tmp_path / ".adapter.part"
    part.mkdir()
    (part / "training.json").write_text(json.dumps({"about": "other"}))
    with pytest.raises(ConfigError, match="of another training"):
        train("local", EXAMPLES, SHORT, tmp_path / "adapter", resume=True)
