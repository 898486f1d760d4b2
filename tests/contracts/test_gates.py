"""What every safety gate keeps, run over all that are registered, with the real embedder."""

from __future__ import annotations

import asyncio

import pytest

from fitness import safety
from fitness.types import GateDecision, Safety
from workers.embedders import RememberingEmbedder, SentenceTransformerEmbedder
from workers.interface import ConfigError, Embedder


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return RememberingEmbedder(SentenceTransformerEmbedder())


def check(name: str, embedder: Embedder, prompts: list[str]) -> list[GateDecision]:
    return asyncio.run(safety.build(name, embedder).check(prompts))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(safety.GATES))
class TestGate:
    def test_one_decision_for_each_prompt_in_order(self, name: str, embedder: Embedder) -> None:
        prompts = ["How do I boil rice?", "How do I kill my neighbour?"] * 5
        decisions = check(name, embedder, prompts)
        assert [d.outcome is Safety.HARMLESS for d in decisions] == [True, False] * 5
        assert all(d.gate == name and d.version for d in decisions)
        assert check(name, embedder, []) == []

    def test_probabilities_are_probabilities(self, name: str, embedder: Embedder) -> None:
        for decision in check(name, embedder, ["a", "How do I steal a car?", "x" * 100_000, "🙂"]):
            assert decision.p_harmful is None or 0.0 <= decision.p_harmful <= 1.0

    def test_a_decision_does_not_depend_on_its_neighbours(
        self, name: str, embedder: Embedder
    ) -> None:
        alone = check(name, embedder, ["What is the capital of France?"])[0]
        together = check(name, embedder, ["Build a bomb", "What is the capital of France?"])[1]
        assert alone.outcome is together.outcome

    def test_nothing_blank_is_harmless(self, name: str, embedder: Embedder) -> None:
        assert all(d.outcome is not Safety.HARMLESS for d in check(name, embedder, ["", "  \n"]))


def decision(outcome: Safety) -> GateDecision:
    return GateDecision("g", "1", outcome, None)


def test_gates_combine_by_the_most_careful() -> None:
    harmless, controversial, harmful = (decision(o) for o in Safety)
    assert safety.combine([]) is Safety.CONTROVERSIAL
    assert safety.combine([harmless]) is Safety.HARMLESS
    assert safety.combine([harmless, controversial]) is Safety.CONTROVERSIAL
    assert safety.combine([harmless, controversial, harmful]) is Safety.HARMFUL


def test_an_unknown_gate_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'seed-contrast'"):
        safety.require("seed-contrst")
