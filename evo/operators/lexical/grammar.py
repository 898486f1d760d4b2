"""Templates with slots: filling one to a sentence, and recognising the sentence again later.

A template is English with slots: `{place}` takes a filler, `{a place}` a filler with its article.
`{topic}` and `{word}` are free: the first is a noun of the request, the second a quoted word of
another prompt. It knows nothing of what the templates are about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from numpy.random import Generator

from evo.operators.lexical.english import CoreFacts, Kind, article
from evo.types import Strategy


class Position(StrEnum):
    """Where a frame stands: sentence before the request, before it with a colon, after its
    question word, at its end before the full stop, sentence after it."""

    LEAD = "lead"
    COLON = "colon"
    WEDGE = "wedge"
    TAIL = "tail"
    TRAIL = "trail"


@dataclass(frozen=True, slots=True)
class FrameSet:
    """The templates of one strategy. The guarded ones speak of weapons or of wrath against
    somebody: they are kept away from requests that name people."""

    slots: Mapping[str, tuple[str, ...]]
    leads: tuple[str, ...] = ()
    colons: tuple[str, ...] = ()
    wedges: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()
    trails: tuple[str, ...] = ()
    guarded_leads: tuple[str, ...] = ()
    guarded_colons: tuple[str, ...] = ()
    guarded_trails: tuple[str, ...] = ()

    def templates(self, strategy: Strategy) -> Iterator[Template]:
        """Every template of the set, in the order of the fields."""
        groups = (
            (Position.LEAD, False, self.leads),
            (Position.COLON, False, self.colons),
            (Position.WEDGE, False, self.wedges),
            (Position.TAIL, False, self.tails),
            (Position.TRAIL, False, self.trails),
            (Position.LEAD, True, self.guarded_leads),
            (Position.COLON, True, self.guarded_colons),
            (Position.TRAIL, True, self.guarded_trails),
        )
        for position, guarded, texts in groups:
            for text in texts:
                yield Template(text, strategy, position, guarded, self.slots)


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence pattern of one strategy."""

    text: str
    strategy: Strategy
    position: Position
    guarded: bool = False
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False, compare=False)

    @property
    def prefix(self) -> str:
        """The literal beginning, case folded: a cheap test before the pattern is compiled."""
        return self.text.split("{", 1)[0].casefold()

    @property
    def needs_topic(self) -> bool:
        return "{topic}" in self.text

    def count(self) -> int:
        """How many surface forms the template has, a free slot counted as one."""
        total = 1
        for _, name in _SLOT.findall(self.text):
            if name not in _FREE:
                total *= len(_fillers(self, name, None))
        return total


# Fillers that depend on the kind of request, so that a detective asks a question but gives an order.
BY_KIND: dict[str, dict[Kind, tuple[str, ...]]] = {
    "asks": {
        Kind.QUESTION: ("asks", "wants to know", "demands to know", "has one question"),
        Kind.IMPERATIVE: ("says", "has one request", "begs", "gives one order"),
        Kind.STATEMENT: ("says", "begins", "declares"),
    },
    "answer": {
        Kind.QUESTION: ("answer", "explanation", "reply"),
        Kind.IMPERATIVE: ("result", "response", "draft"),
        Kind.STATEMENT: ("reply", "response"),
    },
    "question": {
        Kind.QUESTION: ("question",),
        Kind.IMPERATIVE: ("task", "request"),
        Kind.STATEMENT: ("matter",),
    },
}
_SLOT = re.compile(r"\{(a )?(\w+)\}")
_FREE = {"topic", "word"}


def fill(template: Template, facts: CoreFacts, rng: Generator, word: str = "") -> str:
    """One surface form of the template for a request with these facts.

    No filler is used twice in one sentence.
    """
    used: set[str] = set()

    def choose(slot: re.Match[str]) -> str:
        name = slot[2]
        if name == "topic":
            filler = facts.topic or "whole"
        elif name == "word":
            filler = word
        else:
            options = _fillers(template, name, facts.kind)
            fresh = [o for o in options if o not in used] or list(options)
            filler = fresh[int(rng.integers(len(fresh)))]
            used.add(filler)
        return f"{article(filler)} {filler}" if slot[1] else filler

    sentence = _SLOT.sub(choose, template.text)
    if template.position in (Position.LEAD, Position.COLON, Position.TRAIL):
        sentence = sentence[:1].upper() + sentence[1:]
    return sentence


@lru_cache(maxsize=4096)
def pattern(template: Template) -> re.Pattern[str]:
    """The regular expression that recognises every surface form of the template."""
    parts: list[str] = []
    end = 0
    for slot in _SLOT.finditer(template.text):
        parts.append(re.escape(template.text[end : slot.start()]))
        if slot[1]:
            parts.append("an? ")
        if slot[2] in _FREE:
            parts.append(r"[^.!?:\n]{1,60}?")
        else:
            options = sorted(_fillers(template, slot[2], None), key=len, reverse=True)
            parts.append("(?:" + "|".join(map(re.escape, options)) + ")")
        end = slot.end()
    parts.append(re.escape(template.text[end:]))
    return re.compile("".join(parts), re.IGNORECASE)


def _fillers(template: Template, name: str, kind: Kind | None) -> tuple[str, ...]:
    if name in template.slots:
        return template.slots[name]
    if name in BY_KIND:
        if kind is not None:
            return BY_KIND[name][kind]
        return tuple(dict.fromkeys(f for fillers in BY_KIND[name].values() for f in fillers))
    raise KeyError(f"template {template.text!r}: no slot {name!r}")
