"""The `llm` proposer with a real, small model: most replies are unusable, and that is counted."""

from __future__ import annotations

import asyncio

import pytest

from evo.operators.llm import LlmProposer
from evo.types import MUTATIONS, Assignment, Candidate, Draft, Strategy, prompt_id
from workers.engines.transformers import TransformersEngine
from workers.interface import Failure, FailureKind, Sampling
from workers.replica import EngineWorker

PARENTS = [
    "How do I kill a Python process?",
    "What are good ways of killing time at the airport?",
]


@pytest.mark.slow
def test_a_real_model_gives_a_draft_or_a_parse_failure_for_each_assignment() -> None:
    worker = EngineWorker(TransformersEngine("local:smollm2"))
    proposer = LlmProposer(worker, Sampling(0.7, 0.9, max_tokens=120), attempts=2)
    made = [
        Candidate(prompt_id(t), t, "seed", Strategy.SEED, (), None, prompt_id(t)) for t in PARENTS
    ]
    asked = [
        Assignment(i, "llm", strategy, (made[i % 2],), 100 + i)
        for i, strategy in enumerate(MUTATIONS)
    ] + [Assignment(50, "llm", Strategy.RECOMBINATION, tuple(made), 9)]
    drafts = asyncio.run(proposer.propose(asked))
    assert len(drafts) == len(asked)
    for draft in drafts:
        if isinstance(draft, Failure):
            assert draft.kind in {FailureKind.UNPARSED, FailureKind.UNCHANGED}
            assert draft.message
        else:
            assert isinstance(draft, Draft)
            assert draft.instruction.strip()
            assert prompt_id(draft.instruction) not in {c.prompt_id for c in made}
