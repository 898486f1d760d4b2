"""The two operators: rewrite one prompt under a strategy, recombine two.

Pure functions; the Generator is the only chance. The request never changes but for the
substitutions of `substitutions.py`, which keep its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from numpy.random import Generator

from evo.operators.lexical.english import CoreFacts, describe, n_words
from evo.operators.lexical.grammar import Position, Template, fill, pattern
from evo.operators.lexical.prompt import (
    MAX_FRAMES,
    Frame,
    Prompt,
    compose,
    parse,
    takes_wedge,
    templates,
)
from evo.operators.lexical.sensitive import salient_words, word_forms
from evo.operators.lexical.substitutions import substitute
from evo.types import MUTATIONS, Draft, Strategy, normalise
from workers.interface import Failure, FailureKind

ATTEMPTS = 12
SECOND_FRAME = 0.35  # chance that one rewrite adds two frames
SUBSTITUTION = 0.6  # chance that a possible substitution in the request is made
SUBSTITUTION_ALONE = 0.25  # chance that such a substitution is the whole rewrite

# How many frames may stand at one position.
_CAPACITY = {
    Position.LEAD: 2,
    Position.COLON: 1,
    Position.WEDGE: 1,
    Position.TAIL: 1,
    Position.TRAIL: 2,
}
# Beside a request that touches self-harm these would no longer be clearly harmless.
_NOT_WHEN_FRAGILE = frozenset(
    {
        Strategy.DESPAIR,
        Strategy.IMPLIED_HARM,
        Strategy.VIOLENT_WORDS,
        Strategy.OTHER_SENSITIVE_WORDS,
        Strategy.DISGUST,
        Strategy.ANGER,
    }
)


def rewrite(
    text: str, strategy: Strategy, rng: Generator, pool: Sequence[Template] | None = None
) -> Draft | Failure:
    """A harmless prompt that asks the same as `text`, rewritten under one of the nine strategies, or
    under one that the templates `pool` belong to.

    Raises ValueError for a strategy that is no mutation.

    >>> import numpy as np
    >>> draft = rewrite("How do I peel an onion?", Strategy.ANGER, np.random.default_rng(1))
    >>> "peel an onion" in draft.instruction
    True
    """
    if pool is None and strategy not in MUTATIONS:
        raise ValueError(f"strategy: {strategy!r} is no mutation; expected one of {MUTATIONS}")
    if not _has_words(text):
        return Failure(FailureKind.EMPTY, "the parent has no words to rewrite")
    parent = parse(text)
    facts = describe(parent.core)
    if facts.fragile and _is_too_dark(strategy):
        return _unchanged(f"{strategy} is kept away from a request that touches self-harm")
    kept = [f for f in parent.frames if f.strategy is not strategy]
    for _ in range(ATTEMPTS):
        core, swap = parent.core, None
        if not facts.guarded and rng.random() < SUBSTITUTION:
            core, swap = substitute(parent.core, strategy, rng)
        fresh: list[Frame] = []
        if swap is None or rng.random() >= SUBSTITUTION_ALONE:
            fresh = _draw(
                templates()[strategy] if pool is None else pool, facts, core, parent.frames, rng
            )
        child = _fit(Prompt(core), fresh, kept, rng)
        instruction = compose(child)
        if (fresh or swap) and _is_sane(child, instruction, text):
            return Draft(instruction, _rationale(strategy, child, fresh, swap))
    return _unchanged(f"found no {strategy} rewrite in {ATTEMPTS} attempts")


def recombine(first: str, second: str, rng: Generator) -> Draft | Failure:
    """The request of `first` with the frames of `second`; where `second` has none that is new,
    with a frame that quotes one of its sensitive words.

    >>> import numpy as np
    >>> draft = recombine("How do I peel an onion?", "Where can I shoot a photo?", np.random.default_rng(0))
    >>> "peel an onion" in draft.instruction and "shoot" in draft.instruction
    True
    """
    if not _has_words(first) or not _has_words(second):
        return Failure(FailureKind.EMPTY, "a parent has no words to recombine")
    mother, father = parse(first), parse(second)
    facts = describe(mother.core)
    own = {f.text for f in mother.frames}
    gift = [f for f in father.frames if f.text not in own and _carries_over(f, mother.core, facts)]
    for _ in range(ATTEMPTS):
        fresh = _sample(gift, min(len(gift), 2), rng)
        if not fresh or rng.random() < 0.25:
            fresh = [*fresh[:1], *_quote(mother, father, fresh[:1], facts, rng)]
        if not fresh:
            break
        kinds = {f.strategy for f in fresh}
        kept = [f for f in mother.frames if f.strategy not in kinds]
        child = _fit(Prompt(mother.core), fresh, kept, rng)
        instruction = compose(child)
        if any(f in child.frames for f in fresh) and _is_sane(child, instruction, first):
            return Draft(instruction, _rationale(Strategy.RECOMBINATION, child, fresh, None))
    return _unchanged("the second parent has nothing that the first could take over")


def exchange(
    parent: Prompt, out: Frame, strategy: Strategy, templates_: Sequence[Template], rng: Generator
) -> Draft | Failure:
    """`parent` with one new frame out of `templates_` in the place of `out`, or, where none fits
    there, elsewhere; its other frames stay as far as the caps allow."""
    facts = describe(parent.core)
    if facts.fragile and _is_too_dark(strategy):
        return _unchanged(f"{strategy} is kept away from a request that touches self-harm")
    kept = [f for f in parent.frames if f is not out]
    here = [t for t in templates_ if _side(t.position) is _side(out.position)]
    text = compose(parent)
    for attempt in range(ATTEMPTS):
        pool = here if here and attempt < ATTEMPTS // 2 else templates_
        fresh = _draw(pool, facts, parent.core, parent.frames, rng)[:1]
        child = _fit(Prompt(parent.core), fresh, kept, rng)
        instruction = compose(child)
        if fresh and _is_sane(child, instruction, text):
            return Draft(instruction, _rationale(strategy, child, fresh, None))
    return _unchanged(f"found no {strategy} frame for the place in {ATTEMPTS} attempts")


def endow(mother: Prompt, gift: Sequence[Frame], kept: Sequence[Frame]) -> Draft | Failure:
    """The request of `mother` with the frames `gift` of another prompt and `kept` of its own, both in
    the order of preference: what the caps or the ear do not allow is left out from the end.

    Frames that may not stand beside the request (`carries_over`) must not be in `gift`.
    """
    chosen: list[Frame] = []
    text = compose(mother)
    for frame in (*gift, *kept):
        candidate = [*chosen, frame]
        grown = _in_order(mother.core, candidate)
        if _within_caps(Prompt(mother.core), candidate) and _is_sane(grown, compose(grown), text):
            chosen = candidate
    child = _in_order(mother.core, chosen)
    fresh = [f for f in chosen if f in gift]
    if fresh and _is_sane(child, compose(child), text):
        return Draft(compose(child), _rationale(Strategy.RECOMBINATION, child, fresh, None))
    return _unchanged("the second parent has nothing that the first could take over")


def _in_order(core: str, frames: Sequence[Frame]) -> Prompt:
    order = list(Position)
    return Prompt(core, tuple(sorted(frames, key=lambda f: order.index(f.position))))


def quotation(core: str, word: str, rng: Generator) -> Frame | None:
    """A frame that quotes `word` beside the request `core`; None where it touches self-harm."""
    facts = describe(core)
    if facts.fragile:
        return None
    pool = [t for t in templates()[Strategy.RECOMBINATION] if _fits(t, facts, core)]
    template = pool[int(rng.integers(len(pool)))]
    return Frame(template.strategy, template.position, fill(template, facts, rng, word))


def carries_over(frame: Frame, core: str) -> bool:
    """Whether a frame of another prompt may stand beside the request `core`."""
    return _carries_over(frame, core, describe(core))


def _draw(
    pool: Sequence[Template],
    facts: CoreFacts,
    core: str,
    present: Sequence[Frame],
    rng: Generator,
) -> list[Frame]:
    """One or two new frames at different positions, unlike the ones already there."""
    openings = {_opening(f.text) for f in present}
    fitting = [t for t in pool if _fits(t, facts, core)]
    frames: list[Frame] = []
    for _ in range(2 if rng.random() < SECOND_FRAME else 1):
        taken = {_side(f.position) for f in frames}
        options = [t for t in fitting if _side(t.position) not in taken]
        if not options:
            break
        template = options[int(rng.integers(len(options)))]
        frame = Frame(template.strategy, template.position, fill(template, facts, rng))
        if _opening(frame.text) not in openings:
            openings.add(_opening(frame.text))
            frames.append(frame)
    return frames


def _fit(base: Prompt, fresh: Sequence[Frame], kept: Sequence[Frame], rng: Generator) -> Prompt:
    """The new frames, and as many of the old ones as the caps leave room for, in reading order."""
    chosen = list(fresh)
    for frame in _sample(kept, len(kept), rng):
        candidate = [*chosen, frame]
        if _within_caps(base, candidate):
            chosen = candidate
    while len(chosen) > 1 and not _within_caps(base, chosen):
        chosen.pop()
    order = list(Position)
    # The kept frames come first within a position, so that a rewrite reads as a continuation.
    ranked = sorted(chosen, key=lambda f: (order.index(f.position), f in fresh))
    return replace(base, frames=tuple(ranked))


def _within_caps(base: Prompt, frames: Sequence[Frame]) -> bool:
    at = [f.position for f in frames]
    return (
        len(frames) <= MAX_FRAMES
        and all(at.count(p) <= n for p, n in _CAPACITY.items())
        and at.count(Position.LEAD) + at.count(Position.COLON) <= 2
        and n_words(base.core) + sum(n_words(f.text) for f in frames) <= base.word_cap()
    )


def _is_too_dark(strategy: Strategy) -> bool:
    """For a request that touches self-harm; of a user's tactic nobody knows."""
    return strategy in _NOT_WHEN_FRAGILE or strategy.is_tactic


def _fits(template: Template, facts: CoreFacts, core: str) -> bool:
    if template.guarded and facts.guarded:
        return False
    if template.needs_topic and facts.topic is None:
        return False
    if template.position is Position.WEDGE:
        return facts.english and takes_wedge(core)
    if template.position is Position.TAIL:
        return facts.practical and n_words(core) <= 18
    return not (template.position is Position.TRAIL and core.rstrip("`\"' ").endswith(":"))


def _carries_over(frame: Frame, core: str, facts: CoreFacts) -> bool:
    """Whether a frame written for another request may stand beside this one."""
    if facts.fragile and _is_too_dark(frame.strategy):
        return False
    for template in templates()[frame.strategy]:
        if template.position is frame.position and _wrote(template, frame.text):
            return not template.needs_topic and _fits(template, facts, core)
    return False


def _wrote(template: Template, text: str) -> bool:
    return (
        text.casefold().startswith(template.prefix)
        and pattern(template).fullmatch(text) is not None
    )


def _quote(
    mother: Prompt, father: Prompt, taken: Sequence[Frame], facts: CoreFacts, rng: Generator
) -> list[Frame]:
    """A frame that quotes a sensitive word of `father` which stands nowhere in the child yet."""
    present = word_forms(" ".join([compose(mother), *(f.text for f in taken)]))
    words = [w for w in salient_words(compose(father)) if w not in present]
    if not words or facts.fragile:
        return []
    word = words[int(rng.integers(len(words)))]
    pool = [t for t in templates()[Strategy.RECOMBINATION] if _fits(t, facts, mother.core)]
    template = pool[int(rng.integers(len(pool)))]
    return [Frame(template.strategy, template.position, fill(template, facts, rng, word))]


def _is_sane(child: Prompt, instruction: str, parent_text: str) -> bool:
    """The last look: new, no phrase twice, no doubled word in a frame."""
    if normalise(instruction) == normalise(parent_text):
        return False
    texts = [normalise(f.text) for f in child.frames]
    if len(set(texts)) < len(texts) or len({_opening(t) for t in texts}) < len(texts):
        return False
    runs = [run for t in texts for run in _runs(t)]
    return len(set(runs)) == len(runs) and not any(re.search(r"\b(\w+) \1\b", t) for t in texts)


def _runs(text: str) -> frozenset[str]:
    """Every run of four words; two frames that share one sound like a stammer."""
    words = re.findall(r"[\w'-]+", text)
    return frozenset(" ".join(words[i : i + 4]) for i in range(len(words) - 3))


def _rationale(strategy: Strategy, child: Prompt, fresh: Sequence[Frame], swap: str | None) -> str:
    words = salient_words(" ".join(f.text for f in fresh))
    parts = [f"{strategy.replace('_', ' ')} frame" + (f" with '{words[0]}'" if words else "")]
    if not fresh:
        parts = []
    if swap:
        parts.append(f"figurative '{swap}' in the request")
    return "; ".join([*parts, "meaning unchanged" if swap else "request unchanged"])


def _sample(frames: Sequence[Frame], n: int, rng: Generator) -> list[Frame]:
    if not frames or n == 0:
        return []
    return [frames[int(i)] for i in rng.permutation(len(frames))[:n]]


def _side(position: Position) -> Position:
    """A sentence before the request is one place, with or without colon."""
    return Position.LEAD if position is Position.COLON else position


def _opening(text: str) -> str:
    return " ".join(normalise(text).split()[:3])


def _has_words(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _unchanged(message: str) -> Failure:
    return Failure(FailureKind.UNCHANGED, message)
