"""Who scores written responses: `embedded`, without a model of language, and `llm:NAME`.

`embedded` is for small machines. It sees whether a response refuses, whether it is about the request and
whether it is whole; it cannot see politeness, information or safety, and says so by leaving them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from evo.writing import chain
from fitness import constructive
from fitness.constructive import Items, Scored
from fitness.judges.embedded import EmbeddedJudge
from workers.interface import Embedder, Engine, Failure, GenerationRequest, Sampling

# Cosine of prompt and response from which a response is about the request, or may be.
_ABOUT, _PERHAPS = 0.45, 0.25
_WILLING, _UNWILLING = 0.3, 0.5  # P(refusal)
_REPEATS = 0.3  # share of word triples that were there before
_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=160)


class Scorer(Protocol):
    """One score for each pair of prompt and response, same order; what cannot be scored says why."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def score(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]: ...


class EmbeddedScorer:
    name = "embedded"

    def __init__(self, embedder: Embedder) -> None:
        self._judge, self._embedder = EmbeddedJudge(), embedder
        self.version = f"1.{self._judge.version}"

    async def score(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        if not pairs:
            return []
        verdicts = self._judge.judge_now([text for _, text in pairs])
        vectors = self._embedder.embed([text for pair in pairs for text in pair])
        made = []
        for n, ((_, text), verdict) in enumerate(zip(pairs, verdicts, strict=True)):
            if verdict.p_refusal is None:
                made.append(
                    Scored.unscored(
                        self.name, self.version, verdict.unscored_reason or "unreadable"
                    )
                )
                continue
            near = float(vectors[2 * n] @ vectors[2 * n + 1])
            items = Items(
                willingness=_step(-verdict.p_refusal, -_WILLING, -_UNWILLING),
                task=_step(near, _ABOUT, _PERHAPS),
                logic=_soundness(text),
            )
            made.append(
                Scored(
                    self.name,
                    self.version,
                    items,
                    None,
                    verdict.p_refusal,
                    verdict.response_class,
                    constructive.score(items, None),
                    advice=_advice(items),
                )
            )
        return made


class LlmScorer:
    """A language model scores all items and safety; a reply without the whole rubric leaves a response
    unscored."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self._engine = name, engine
        self.version = f"{chain.PROMPT_VERSION}.{engine.description.revision[:16]}"

    async def score(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        requests = [
            GenerationRequest(
                f"score {n}", chain.score_messages(prompt, text), 1, _SAMPLING, seed=0
            )
            for n, (prompt, text) in enumerate(pairs)
        ]
        replies = await self._engine.generate(requests) if requests else []
        made = []
        for reply in replies:
            if isinstance(reply, Failure):
                reason = f"{reply.kind}: {reply.message}"
                made.append(Scored.unscored(self.name, self.version, reason))
                continue
            text = reply.samples[0].text
            said = constructive.parse(text)
            if said is None:
                reason = f"no rubric in the reply: {text.strip()[:100]!r}"
                made.append(Scored.unscored(self.name, self.version, reason))
                continue
            items, grade, kind, advice = said
            safety = constructive.safety_of(grade, kind)
            p = None if kind is None else float(kind.is_refusal)
            score = constructive.score(items, safety)
            made.append(
                Scored(self.name, self.version, items, safety, p, kind, score, advice=advice)
            )
        return made


def _step(value: float, good: float, bad: float) -> int:
    """1 from `good` on, -1 below `bad`, 0 between.

    >>> _step(0.5, 0.45, 0.25), _step(0.3, 0.45, 0.25), _step(0.1, 0.45, 0.25)
    (1, 0, -1)
    """
    return 1 if value >= good else (-1 if value < bad else 0)


def _soundness(text: str) -> int:
    """-1: it goes round in circles; 0: it breaks off; 1: neither.

    >>> _soundness("Press Ctrl and C."), _soundness("Press Ctrl and"), _soundness("so it is " * 9 + ".")
    (1, 0, -1)
    """
    words = text.lower().split()
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    total = sum(triples.values())
    if total and 1.0 - len(triples) / total > _REPEATS:
        return -1
    return 1 if text.rstrip()[-1:] in (".", "!", "?", '"', "`", ")", ":") else 0


def _advice(items: Items) -> str:
    said = {
        "willingness": "Be willing to help.",
        "task": "Carry out what was asked.",
        "logic": "Write whole sentences and repeat nothing.",
    }
    return " ".join(words for name, words in said.items() if (getattr(items, name) or 0) < 1)
