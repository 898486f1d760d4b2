"""The text model: a prompt is a request (the core, which must not change) and the frames round it.

Only frames that this grammar once wrote are taken for frames; all else is the request, so a user's
own context is never dropped. `parse` and `compose` are inverse to each other on composed text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from evo.operators.lexical.english import Kind, kind_of, n_words
from evo.operators.lexical.frames import FRAME_SETS
from evo.operators.lexical.grammar import Position, Template, pattern
from evo.types import Strategy

MAX_FRAMES = 3
MAX_WORDS = 90
ROOM_WORDS = 30  # what a request of its own near MAX_WORDS may still gain in frames


@dataclass(frozen=True, slots=True)
class Frame:
    """One recognised or newly written frame. `text` carries its own punctuation."""

    strategy: Strategy
    position: Position
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request with its frames in reading order."""

    core: str
    frames: tuple[Frame, ...] = ()

    def word_cap(self) -> int:
        """The most words that a rewrite of this prompt may have."""
        return max(MAX_WORDS, n_words(self.core) + ROOM_WORDS)


def parse(text: str) -> Prompt:
    """Split a prompt into frames and request.

    >>> parse("How do I open a jar?").core
    'How do I open a jar?'
    """
    rest = _tidy(text)
    leads: list[Frame] = []
    while (lead := _lead_of(rest)) is not None:
        leads.append(lead)
        rest = rest[len(lead.text) :].lstrip()
        if lead.position is Position.COLON:
            break
    trails: list[Frame] = []
    while (trail := _trail_of(rest)) is not None:
        trails.insert(0, trail)
        rest = rest[: -len(trail.text)].rstrip()
    inner: list[Frame] = []
    if (tail := _tail_of(rest)) is not None:
        inner.append(tail)
        stem, mark = _split_mark(rest)
        rest = stem[: -len(tail.text)].rstrip() + mark
    if (wedge := _wedge_of(rest)) is not None:
        inner.insert(0, wedge)
        first, after = rest.split(" ", 1)
        rest = f"{first} {after[len(wedge.text) :].lstrip()}"
    return Prompt(punctuated(capitalised(rest)), (*leads, *inner, *trails))


def compose(prompt: Prompt) -> str:
    """The text of a prompt: leads, then the one with the colon, the request, the trails."""
    by_position = {
        position: [f.text for f in prompt.frames if f.position is position] for position in Position
    }
    core = prompt.core
    for wedge in by_position[Position.WEDGE]:
        first, after = core.split(" ", 1)
        core = f"{first} {wedge} {after}"
    for tail in by_position[Position.TAIL]:
        stem, mark = _split_mark(core)
        core = f"{stem} {tail}{mark}"
    return " ".join(
        [
            *by_position[Position.LEAD],
            *by_position[Position.COLON],
            core,
            *by_position[Position.TRAIL],
        ]
    )


def takes_wedge(core: str) -> bool:
    """Whether "the hell" may follow the first word.

    >>> takes_wedge("How do I open a jar?"), takes_wedge("What city is this?")
    (True, False)
    """
    return bool(_WEDGE_SITE.match(core))


@lru_cache(maxsize=1)
def templates() -> dict[Strategy, tuple[Template, ...]]:
    """Every template, by strategy; recombination has the frames that quote a word."""
    return {s: tuple(frames.templates(s)) for s, frames in FRAME_SETS.items()}


@lru_cache(maxsize=8)
def _at(*positions: Position) -> tuple[tuple[str, Template], ...]:
    return tuple(
        (t.prefix, t) for group in templates().values() for t in group if t.position in positions
    )


def _lead_of(text: str) -> Frame | None:
    folded = text[:80].casefold()
    for prefix, template in _at(Position.LEAD, Position.COLON):
        if folded.startswith(prefix):
            match = pattern(template).match(text)
            if match and text[match.end() : match.end() + 1].isspace() and match.end() < len(text):
                return Frame(template.strategy, template.position, match[0])
    return None


def _trail_of(text: str) -> Frame | None:
    starts = [m.end() for m in re.finditer(r"[.!?…:;\"”'’)\]。！？]\s+", text)]
    for start in reversed(starts[-4:]):
        folded = text[start : start + 80].casefold()
        for prefix, template in _at(Position.TRAIL):
            if folded.startswith(prefix):
                match = pattern(template).fullmatch(text, start)
                if match:
                    return Frame(template.strategy, Position.TRAIL, match[0])
    return None


def _tail_of(core: str) -> Frame | None:
    stem, _ = _split_mark(core)
    for _, template in _at(Position.TAIL):
        match = re.search(rf"(?<=\S ){pattern(template).pattern}$", stem, re.IGNORECASE)
        if match:
            return Frame(template.strategy, Position.TAIL, match[0])
    return None


def _wedge_of(core: str) -> Frame | None:
    first, _, after = core.partition(" ")
    for _, template in _at(Position.WEDGE):
        match = pattern(template).match(after)
        if match and takes_wedge(f"{first}{after[match.end() :]}"):
            return Frame(template.strategy, Position.WEDGE, match[0])
    return None


def _split_mark(core: str) -> tuple[str, str]:
    stem = core.rstrip(".!?…")
    return stem.rstrip(), core[len(stem) :]


def _tidy(text: str) -> str:
    """Outer white space off; inner runs collapsed, unless the prompt has lines of its own."""
    stripped = text.strip()
    return stripped if "\n" in stripped else " ".join(stripped.split())


def capitalised(core: str) -> str:
    """The first letter and the pronoun I upper-case, but `iPhone` and `x^2` stay."""
    core = _SMALL_I.sub("I", core)
    match = re.match(r"[a-z](?=[a-z'’-]*(?:\W|$))(?![\^_*(=/\\.])", core)
    return core[:1].upper() + core[1:] if match else core


def punctuated(core: str) -> str:
    """An end mark where none is: a question mark for a question."""
    if re.search(r"[.!?…:。！？؟][\"'”’)\]»`]*$", core):
        return core
    return core.rstrip(",;- ") + ("?" if kind_of(core) is Kind.QUESTION else ".")


_SMALL_I = re.compile(
    r"(?:(?<=\b[Dd]o )|(?<=\b[Cc]an )|(?<=\b[Ss]hould )|(?<=\b[Cc]ould ))i(?= [a-z])"
)
_WEDGE_SITE = re.compile(
    r"(?:how|what|where|why|who|when) (?:is|are|was|were|do|does|did|can|could|should|would|will)\b",
    re.IGNORECASE,
)
