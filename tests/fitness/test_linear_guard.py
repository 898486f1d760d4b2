"""Linear guards on states whose harm is known: one direction for harm, one for each topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitness.safety import latent_guard, linear_guard
from fitness.safety.latent_guard import Kind
from fitness.safety.linear_guard import Labelled
from tests.fitness.test_latent_guard import DESCRIPTION
from workers.interface import ConfigError

TOPICS = ("drugs", "theft", "guns", "words")
WIDTH, PER_CELL = 12, 8


def made(seed: int = 0, harm_in: int = 1, **changes: Any) -> Labelled:
    """Two layers; the harm is in `harm_in`'s. A topic moves a state too."""
    rng = np.random.default_rng(seed)
    states, harmful, refused, topics = [], [], [], []
    for t, topic in enumerate(TOPICS):
        for is_harmful in (False, True):
            for n in range(PER_CELL):
                state = rng.normal(scale=0.2, size=(2, 2, WIDTH))
                state[:, :, 2 + t] += 0.3
                was_refused = n % 2 == 0
                state[harm_in, 0, 0] += 2.0 if is_harmful else -2.0
                state[:, 1, 1] += 2.0 if was_refused else -2.0
                states.append(state)
                harmful.append(is_harmful)
                refused.append(was_refused)
                topics.append(topic)
    given: dict[str, Any] = {
        "states": np.array(states, dtype=np.float32),
        "harmful": np.array(harmful),
        "refused": refused,
        "topics": topics,
    }
    return Labelled(**given | changes)


def fit(data: Labelled, **options: Any) -> Any:
    return linear_guard.fit(data, DESCRIPTION, (4, 5), **options)


def test_it_tells_harm_on_topics_that_it_has_not_seen() -> None:
    guard, quality = fit(made())
    assert (quality.layer, guard.layers) == (5, (5,))
    assert quality.auroc == 1.0
    assert quality.harmful_harmful_side == 1.0
    fresh = made(seed=1)
    said = [latent_guard.deltas(guard, state[1:2]) for state in fresh.states]
    assert [harm >= guard.alpha for harm, _ in said] == fresh.harmful.tolist()
    assert [refuse > 0 for _, refuse in said] == list(fresh.refused)


def test_the_line_leaves_the_wished_share_of_every_topic_below() -> None:
    """Where harm is hidden in noise, a higher share costs harmful prompts."""
    noisy = made(states=made().states + np.random.default_rng(3).normal(0, 3, (64, 2, 2, WIDTH)))
    low, high = (fit(noisy, safe_side=share)[1] for share in (0.5, 0.95))
    assert 0.5 <= low.over_refused_harmless_side < high.over_refused_harmless_side
    assert high.over_refused_harmless_side >= 0.85
    assert high.harmful_harmful_side < low.harmful_harmful_side


def test_the_topic_that_needs_the_highest_line_decides() -> None:
    scores = np.array([0.0] * 4 + [5.0] * 4 + [9.0] * 2)
    topics = ["a"] * 4 + ["b"] * 4 + ["few"] * 2
    line = linear_guard._line(scores, np.ones(10, dtype=bool), topics, 0.9)
    assert line == 5.0


def test_prompts_without_a_topic_are_learned_from_and_not_measured_on() -> None:
    own, more = made(), made(seed=7)
    both = Labelled(
        np.concatenate([own.states, more.states]),
        np.concatenate(
            [own.harmful, ~more.harmful]
        ),  # all wrong: were they measured on, it would show
        [*own.refused, *[None] * 64],
        [*own.topics, *[None] * 64],
    )
    assert fit(made())[1].auroc > fit(both)[1].auroc
    right = Labelled(
        both.states, np.concatenate([own.harmful, more.harmful]), both.refused, both.topics
    )
    assert fit(right)[1].auroc == 1.0


def test_where_nothing_harmless_was_refused_the_line_is_drawn_on_all_harmless_prompts() -> None:
    data = made()
    guard, quality = fit(made(refused=data.harmful.tolist()))
    assert quality.over_refused_harmless_side is None
    assert quality.harmful_harmful_side == 1.0
    assert guard.kind is Kind.LINEAR


def test_a_saved_linear_guard_is_the_same_one(tmp_path: Path) -> None:
    guard, _ = fit(made())
    assert guard.version.startswith("linear.")
    latent_guard.save(guard, tmp_path / "g.npz")
    again = latent_guard.load(tmp_path / "g.npz")
    assert again.version == guard.version
    state = made().states[0][1:2]
    assert latent_guard.deltas(again, state) == latent_guard.deltas(guard, state)


def test_what_is_too_little_makes_no_guard() -> None:
    with pytest.raises(ConfigError, match=r"at least 3 topics.*got 1.*--topic-col"):
        fit(made(topics=["one"] * 64))
    with pytest.raises(ConfigError, match="4 harmful prompts or more, got 0"):
        fit(made(harmful=np.zeros(64, dtype=bool)))
    with pytest.raises(ConfigError, match="4 answered prompts or more, got 0"):
        fit(made(refused=[True] * 64))
