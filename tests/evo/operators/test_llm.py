"""The model-backed proposer against a hand-written worker that replies from a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from evo.operators.llm import (
    LlmProposer,
    mutation_messages,
    parse_reply,
    recombination_messages,
)
from evo.types import MUTATIONS, Assignment, Candidate, Draft, Strategy, prompt_id
from workers.interface import (
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Sample,
    Sampling,
)

PARENT = "How do I stop a Python process?"
GOOD = json.dumps({"instruction": "How do I kill a Python process?", "rationale": "a process"})


class ScriptedWorker:
    """Replies to the n-th request about an assignment with the n-th line of its script."""

    def __init__(self, scripts: dict[int, list[str | Failure]]) -> None:
        self.scripts = {index: list(lines) for index, lines in scripts.items()}
        self.batches: list[list[GenerationRequest]] = []
        self.closed = False

    async def run(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        self.batches.append(list(requests))
        return [self._reply(r) for r in requests]

    async def close(self) -> None:
        self.closed = True

    def _reply(self, request: GenerationRequest) -> Generation | Failure:
        line = self.scripts[int(request.key.split("-")[1])].pop(0)
        if isinstance(line, Failure):
            return line
        return Generation((Sample(0, line, 7, "stop"),), 20)


def candidate(text: str) -> Candidate:
    return Candidate(prompt_id(text), text, "seed", Strategy.SEED, (), None, prompt_id(text))


def assignment(index: int, strategy: Strategy = Strategy.ANGER, *texts: str) -> Assignment:
    parents = tuple(candidate(t) for t in (texts or (PARENT,)))
    return Assignment(index, "llm", strategy, parents, seed=1000 + index)


def propose(proposer: LlmProposer, *assignments: Assignment) -> list[Draft | Failure]:
    return asyncio.run(proposer.propose(assignments))


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Sure, here you go:\n\n{GOOD}\nHope it helps {{smile}}.",
        f"The set {{1, 2}} aside: {GOOD}",
        f'<think>maybe {{"instruction": "no"}}</think>{GOOD}',
        f'{{"result": {GOOD}}}',
        '{"instruction": "How do I kill\n a Python process?", "rationale": "a process"}',
        '{"instruction": "  ", "rationale": ""} ' + GOOD,
    ],
)
def test_a_reply_is_read_through_what_surrounds_it(reply: str) -> None:
    draft = parse_reply(reply)
    assert isinstance(draft, Draft)
    assert " ".join(draft.instruction.split()) == "How do I kill a Python process?"
    assert draft.rationale == "a process"


def test_braces_inside_the_instruction_survive() -> None:
    draft = parse_reply('{"instruction": "What does {x: {y}} do?", "rationale": null}')
    assert draft == Draft("What does {x: {y}} do?", None)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no json here",
        "{",
        "{" * 5000,
        "[1, 2]",
        '{"rationale": "only"}',
        '{"instruction": 7}',
        '{"instruction": "half a \\ud83d"}',
        '{"instruction": "..."}',
        '{"instruction": "<the rewritten request>"}',
        '{"instruction": "I\'m sorry, but I can\'t help with that."}',
        '{"instruction": "I cannot assist with this request."}',
        "I’m sorry, I can’t do that.",
    ],
)
def test_what_holds_no_instruction_is_unparsed(reply: str) -> None:
    result = parse_reply(reply)
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.UNPARSED


def test_an_angry_prompt_is_no_refusal() -> None:
    draft = parse_reply('{"instruction": "I can\'t believe this! How do I open a jar?"}')
    assert isinstance(draft, Draft)


def test_the_parent_come_back_is_unchanged() -> None:
    result = parse_reply(json.dumps({"instruction": PARENT.upper()}), [PARENT])
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.UNCHANGED


@pytest.mark.parametrize("strategy", MUTATIONS)
def test_every_strategy_has_its_own_wording(strategy: Strategy) -> None:
    system, user = mutation_messages(PARENT, strategy)
    assert (system.role, user.role) == ("system", "user")
    assert "harmless" in system.content
    assert PARENT in user.content
    others = {mutation_messages(PARENT, s)[1].content for s in MUTATIONS}
    assert len(others) == len(MUTATIONS)


def test_a_strategy_that_is_no_mutation_is_an_error() -> None:
    with pytest.raises(ValueError, match="no mutation"):
        mutation_messages(PARENT, Strategy.SEED)


def test_recombination_shows_both_parents_in_order() -> None:
    text = recombination_messages("first one", "second one")[1].content
    assert text.index("first one") < text.index("second one")


def test_only_unread_replies_are_asked_again_in_one_batch() -> None:
    worker = ScriptedWorker({0: ["mumble", GOOD], 1: [GOOD], 2: ["mumble", "mumble", GOOD]})
    proposer = LlmProposer(worker, Sampling())
    results = propose(proposer, assignment(0), assignment(1), assignment(2))
    assert all(isinstance(r, Draft) for r in results)
    assert [len(batch) for batch in worker.batches] == [3, 2, 1]
    assert proposer.parse_failures == 3


def test_attempts_are_bounded_and_told() -> None:
    worker = ScriptedWorker({0: ["mumble"] * 9})
    (result,) = propose(LlmProposer(worker, Sampling(), attempts=2), assignment(0))
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.UNPARSED
    assert result.message.endswith("attempts_used=2")
    assert len(worker.batches) == 2


def test_each_attempt_has_its_own_seed_and_repeats_exactly() -> None:
    seeds = []
    for _ in range(2):
        worker = ScriptedWorker({0: ["mumble"] * 3})
        propose(LlmProposer(worker, Sampling()), assignment(0))
        seeds.append([batch[0].seed for batch in worker.batches])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3


def test_a_request_that_cannot_fit_is_not_asked_again() -> None:
    worker = ScriptedWorker({0: [Failure(FailureKind.OVERLONG, "5000 tokens")]})
    (result,) = propose(LlmProposer(worker, Sampling()), assignment(0))
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.OVERLONG


def test_order_is_kept_round_an_assignment_without_operator() -> None:
    worker = ScriptedWorker({1: [GOOD]})
    results = propose(
        LlmProposer(worker, Sampling()),
        assignment(0, Strategy.RECOMBINATION, PARENT),
        assignment(1, Strategy.RECOMBINATION, PARENT, "What is fraud?"),
        assignment(2, Strategy.ANGER, "  "),
    )
    assert [type(r) for r in results] == [Failure, Draft, Failure]
    assert propose(LlmProposer(worker, Sampling())) == []


def test_close_reaches_the_worker() -> None:
    worker = ScriptedWorker({})
    asyncio.run(LlmProposer(worker, Sampling()).close())
    assert worker.closed
