"""The guided proposer: rewrites that keep what carries the refusal.

What a span carries is what the guessed P(refusal) loses when the span is left out (leave-one-span-out,
as in occlusion, Zeiler and Fergus, arXiv 1311.2901). Whether the target agrees shows at once: every child
has to pass the screen's opening, one token of the target, before it is sampled. It asks for guesses
through a callable: it knows no embedder, no predictor and no engine. The writing is the lexical grammar's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.operators.lexical.grammar import Template
from evo.operators.lexical.prompt import Frame, Prompt, templates
from evo.operators.lexical.rewrite import carries_over, endow, exchange, quotation, rewrite
from evo.operators.lexical.sensitive import salient_words, word_forms
from evo.operators.spans import Spans, split, without
from evo.types import MUTATIONS, Assignment, Draft, Strategy
from workers.interface import Failure, FailureKind

# (n,) guessed P(refusal) of n texts, in [0, 1]. Called outside the event loop's thread.
Rates = Callable[[Sequence[str]], NDArray[np.float64]]

SECOND_GIFT = 0.5  # chance that a recombination takes two frames over


def alike(texts: Sequence[str]) -> NDArray[np.float64]:
    """The guess of one who knows nothing, (n,): all one half."""
    return np.full(len(texts), 0.5)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A prompt, its spans and what each carries: `drops` is P(refusal) of the whole minus that of the
    prompt without the span, (n spans,) in [-1, 1]. A span that cannot be left out carries nothing."""

    text: str
    whole: Spans
    drops: tuple[float, ...]

    def of_frame(self, frame: Frame) -> float:
        return next(
            (d for s, d in zip(self.whole.spans, self.drops, strict=True) if s.frame is frame), 0.0
        )

    def carried(self) -> list[Frame]:
        """The frames, the one that carries most first; ties in reading order."""
        return sorted(self.whole.prompt.frames, key=lambda f: -self.of_frame(f))


def weigh(texts: Sequence[str], rates: Rates) -> dict[str, Weighed]:
    """Every prompt with what its spans carry, in one call of `rates`.

    Raises:
        ValueError: `rates` gave another number of guesses than it was asked for.
    """
    wholes = {text: split(text) for text in dict.fromkeys(texts)}
    shortened = {
        text: [without(whole, i) if len(whole) > 1 else "" for i in range(len(whole))]
        for text, whole in wholes.items()
    }
    asked = list(dict.fromkeys(t for text in wholes for t in (text, *shortened[text]) if t))
    guesses = rates(asked) if asked else np.zeros(0)
    if len(guesses) != len(asked):
        raise ValueError(f"rates: {len(guesses)} guesses for {len(asked)} texts")
    guess = dict(zip(asked, map(float, guesses), strict=True))
    return {
        text: Weighed(
            text, whole, tuple(guess[text] - guess[s] if s else 0.0 for s in shortened[text])
        )
        for text, whole in wholes.items()
    }


class GuidedProposer:
    """`Proposer` that keeps carrying spans. Same assignment and same guesses, same draft.

    A recombination puts the frames of the second parent that carry most into the request of the
    first, beside those of its own that carry; where the second has none, a sensitive word out of its
    most carrying span is quoted. A mutation gives the place of the frame that carries least to the
    assigned strategy. Requests are never cut: what a user wrote stays whole.
    """

    def __init__(
        self,
        rates: Rates = alike,
        tactics: Mapping[Strategy, Sequence[Template]] | None = None,
    ) -> None:
        self._rates = rates
        self._templates: dict[Strategy, Sequence[Template]] = {
            **{strategy: templates()[strategy] for strategy in MUTATIONS},
            **(tactics or {}),
        }

    @property
    def name(self) -> str:
        return "guided"

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        texts = [p.text for a in assignments for p in a.parents if p.text.strip()]
        weighed = await asyncio.to_thread(weigh, texts, self._rates)
        return [_propose_one(a, weighed, self._templates) for a in assignments]

    async def close(self) -> None:
        return None


def _crosses(assignment: Assignment) -> bool:
    return (
        assignment.strategy is Strategy.RECOMBINATION
        and len(assignment.parents) == 2
        and all(_has_words(p.text) for p in assignment.parents)
    )


def _has_words(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _propose_one(
    assignment: Assignment,
    weighed: Mapping[str, Weighed],
    pools: Mapping[Strategy, Sequence[Template]],
) -> Draft | Failure:
    rng = np.random.default_rng(assignment.seed)
    if any(not _has_words(p.text) for p in assignment.parents):
        return Failure(FailureKind.EMPTY, "a parent has no words to work with")
    if _crosses(assignment):
        mother, father = (weighed[p.text] for p in assignment.parents)
        return _cross(mother, father, rng)
    pool = pools.get(assignment.strategy)
    if pool is None or not assignment.parents:
        return Failure(
            FailureKind.UNCHANGED,
            f"the guided proposer has no operator {assignment.strategy} for "
            f"{len(assignment.parents)} parents",
        )
    parent = weighed[assignment.parents[0].text]
    if not parent.whole.prompt.frames:
        return rewrite(parent.text, assignment.strategy, rng, pool)
    least = parent.carried()[-1]
    return exchange(parent.whole.prompt, least, assignment.strategy, pool, rng)


def _cross(
    mother: Weighed,
    father: Weighed,
    rng: np.random.Generator,
) -> Draft | Failure:
    gifts = _gifts(mother, father)
    gifts = gifts[: 2 if rng.random() < SECOND_GIFT else 1]
    core = mother.whole.prompt.core
    if not gifts:
        words = _quotable(mother, father)
        quoted = quotation(core, words[0], rng) if words else None
        gifts = [quoted] if quoted is not None else []
    # What lowers the guess is not kept; before anything is known nothing does.
    kept = [f for f in mother.carried() if mother.of_frame(f) >= 0.0]
    return endow(Prompt(core, mother.whole.prompt.frames), gifts, kept)


def _gifts(mother: Weighed, father: Weighed) -> list[Frame]:
    """The frames of `father` that may stand beside the request of `mother` and are new there, the
    one that carries most first."""
    own = {f.text for f in mother.whole.prompt.frames}
    core = mother.whole.prompt.core
    return [f for f in father.carried() if f.text not in own and carries_over(f, core)]


def _quotable(mother: Weighed, father: Weighed) -> list[str]:
    """Sensitive words of `father` that `mother` lacks, those of its most carrying span first."""
    present = word_forms(mother.text)
    order = sorted(range(len(father.drops)), key=lambda i: -father.drops[i])
    spans = [father.whole.spans[i].text for i in order]
    words = dict.fromkeys(w for text in spans for w in salient_words(text))
    return [w for w in words if w not in present]
