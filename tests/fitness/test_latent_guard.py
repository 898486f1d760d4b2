"""The latent guard on a model whose states are known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fitness.safety import latent_guard
from fitness.safety.latent_guard import Guard, Kind, LatentGuard
from fitness.types import Safety, Signature, Signed
from workers.interface import (
    ConfigError,
    EngineDescription,
    Failure,
    FailureKind,
    StateRequest,
    States,
)

DESCRIPTION = EngineDescription("fake", "tiny", "rev1", "tpl", "float32", "cpu", 100)
LAYERS = (1, 2)
HARM, REFUSE = np.array([1.0, 0, 0, 0]), np.array([0, 1.0, 0, 0])


def state(prompt: str) -> NDArray[np.float32]:
    """(layers, 2, width): what stands in the prompt is thought, and meant."""
    harm = HARM if "harm" in prompt else -HARM
    refuse = REFUSE if "refuse" in prompt else -REFUSE
    noise = np.random.default_rng(len(prompt)).normal(scale=0.01, size=(2, 2, 4))
    return np.asarray(np.stack([[harm, refuse]] * 2) + noise + [0, 0, 1, 0], dtype=np.float32)


class FakeBox:
    """Only what a guard asks for."""

    description = DESCRIPTION

    def __init__(self) -> None:
        self.calls: list[Sequence[StateRequest]] = []

    async def states(
        self, requests: Sequence[StateRequest], interventions: Any = ()
    ) -> list[States | Failure]:
        self.calls.append(requests)
        texts = [r.messages[-1].content for r in requests]
        return [
            Failure(FailureKind.OVERLONG, "9,000 tokens") if "long" in t else States(state(t), 5)
            for t in texts
        ]


def box() -> Any:
    return FakeBox()


KINDS = ["harm refuse", "harm", "refuse", "plain"]
TRAINING = [f"{kind} {n * 'a'}" for kind in KINDS for n in range(5)]


def fitted(kind: Kind = Kind.AUGMENTED, **changes: Any) -> Guard:
    given: dict[str, Any] = {
        "states": np.stack([state(p) for p in TRAINING]),
        "is_harmful": ["harm" in p for p in TRAINING],
        "was_refused": ["refuse" in p for p in TRAINING],
    }
    given |= changes
    return latent_guard.fit(
        given["states"],
        given["is_harmful"],
        given["was_refused"],
        kind=kind,
        description=DESCRIPTION,
        layers=LAYERS,
        system_prompt="Be kind.",
    )


def test_a_prompt_is_harmful_that_the_model_thinks_harmful_whatever_it_means_to_do() -> None:
    looked = box()
    gate = LatentGuard("latent-guard:x", fitted(), looked)
    decisions = asyncio.run(gate.check(["harm refuse", "harm", "refuse", "plain"]))
    outcomes = [d.outcome for d in decisions]
    assert outcomes == [Safety.HARMFUL, Safety.HARMFUL, Safety.HARMLESS, Safety.HARMLESS]
    assert {(d.gate, d.p_harmful) for d in decisions} == {("latent-guard:x", None)}
    (asked,) = looked.calls  # one call, one prefill a prompt, under the guard's own system prompt
    assert [r.messages[0].content for r in asked] == ["Be kind."] * 4


def test_what_cannot_be_read_is_controversial_with_its_reason() -> None:
    gate = LatentGuard("latent-guard:x", fitted(), box())
    blank, long, plain = asyncio.run(gate.check(["  \n", "too long", "plain"]))
    assert (blank.outcome, blank.reason) == (Safety.CONTROVERSIAL, "no words in the prompt")
    assert (long.outcome, long.reason) == (Safety.CONTROVERSIAL, "overlong: 9,000 tokens")
    assert plain.outcome is Safety.HARMLESS
    assert asyncio.run(gate.check([])) == []


def test_the_version_says_which_centroids_and_changes_with_them() -> None:
    base, augmented = fitted(Kind.BASE), fitted(Kind.AUGMENTED)
    assert base.version.startswith("base.")
    assert augmented.version.startswith("augmented.")
    assert augmented.version == fitted().version
    moved = fitted(states=np.stack([state(p) for p in TRAINING]) * np.float32(1.001))
    assert moved.version != augmented.version


def test_base_centroids_leave_answered_harmful_prompts_out() -> None:
    """mu_1 of `base` is of refused harmful prompts alone; states here tell the two apart."""
    apart = np.stack(
        [
            state(p) + np.array([0, 0, 0, 0.0 if p.startswith("harm refuse") else 5.0])
            for p in TRAINING
        ]
    )
    refused = fitted(Kind.BASE, states=apart).harm.first[:, 3]
    every = fitted(Kind.AUGMENTED, states=apart).harm.first[:, 3]
    assert np.allclose(refused, 0, atol=0.05)
    assert np.allclose(every, 2.5, atol=0.05)


def test_a_saved_guard_is_the_same_one(tmp_path: Path) -> None:
    guard = fitted()
    latent_guard.save(guard, tmp_path / "guard.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["guard.npz"]
    again = latent_guard.load(tmp_path / "guard.npz")
    assert again.version == guard.version
    assert latent_guard.deltas(again, state("harm")) == latent_guard.deltas(guard, state("harm"))


@pytest.mark.parametrize("content", [b"", b"no array", b"\x80\x04."])
def test_a_file_that_is_no_guard_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "guard.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"guard\.npz is no guard of evocliff"):
        latent_guard.load(path)
    with pytest.raises(ConfigError, match=r"there is no file .*none\.npz"):
        latent_guard.load(tmp_path / "none.npz")


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "guard.npz"
    np.savez(path, card=np.array([{"format": 1}], dtype=object))
    with pytest.raises(ConfigError, match="is no guard"):
        latent_guard.load(path)


def test_a_guard_of_another_model_is_refused() -> None:
    other = box()
    other.description = EngineDescription("fake", "big", "rev2", "tpl", "float32", "cpu", 100)
    with pytest.raises(ConfigError, match=r"fitted on 'tiny' \(revision rev1\), not on 'big'"):
        LatentGuard("latent-guard:x", fitted(), other)


def test_too_few_prompts_of_a_group_make_no_guard() -> None:
    with pytest.raises(ConfigError, match="4 refused harmful prompts or more, got 0"):
        fitted(Kind.BASE, was_refused=["refuse" in p and "harm" not in p for p in TRAINING])


def test_the_four_signatures_by_intent_and_by_deed() -> None:
    asked = asyncio.run(latent_guard.sign(fitted(), box(), KINDS, name="g"))
    assert [s.signature for s in asked if isinstance(s, Signed)] == [
        Signature.RIGHTLY_REFUSED,
        Signature.SUPPRESSED,
        Signature.OVER_REFUSED,
        Signature.RIGHTLY_ANSWERED,
    ]
    done = asyncio.run(
        latent_guard.sign(fitted(), box(), ["plain", "too long"], [0.75, None], name="g")
    )
    assert isinstance(done[0], Signed)
    assert done[0].signature is Signature.OVER_REFUSED
    assert isinstance(done[1], Failure)
