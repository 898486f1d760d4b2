"""A prompt as spans, and the prompt without one of them: what leave-one-span-out needs.

Where the grammar recognises frames the spans are those frames and the request; elsewhere they are
sentences, or the clauses of a single sentence. Knows English punctuation and the lexical grammar;
does not know what a span is worth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from evo.operators.lexical.grammar import Position
from evo.operators.lexical.prompt import Frame, Prompt, capitalised, compose, parse, punctuated

FEWEST_WORDS = 3  # of a clause that is a span of its own


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of a prompt, in reading order; `frame` where the grammar wrote it, else None."""

    text: str
    frame: Frame | None = None


@dataclass(frozen=True, slots=True)
class Spans:
    """A prompt cut up. `prompt` is its parse; no span is empty."""

    prompt: Prompt
    spans: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.spans)


def split(text: str) -> Spans:
    """Cut a prompt into spans; one span where nothing can be left out.

    >>> [s.text for s in split("I am late. How do I get rid of rust?").spans]
    ['I am late.', 'How do I get rid of rust?']
    >>> [s.text for s in split("If the lamp flickers, how do I fix it?").spans]
    ['If the lamp flickers,', 'how do I fix it?']
    """
    prompt = parse(text)
    if not prompt.frames:
        return Spans(prompt, tuple(Span(piece) for piece in _pieces(prompt.core)))
    before = [f for f in prompt.frames if f.position in (Position.LEAD, Position.COLON)]
    after = [f for f in prompt.frames if f not in before]
    spans = [Span(f.text, f) for f in before]
    if prompt.core.strip():
        spans.append(Span(prompt.core))
    return Spans(prompt, (*spans, *(Span(f.text, f) for f in after)))


def without(whole: Spans, index: int) -> str:
    """The prompt without span `index`, fluent: first letter and end mark mended; "" where nothing
    that can stand alone is left.

    Raises:
        IndexError: there is no such span.

    >>> without(split("If the lamp flickers, how do I fix it?"), 0)
    'How do I fix it?'
    """
    left_out = whole.spans[index]
    if left_out.frame is not None:
        others = tuple(f for f in whole.prompt.frames if f is not left_out.frame)
        return compose(replace(whole.prompt, frames=others))
    if whole.prompt.frames:
        # Without the request only whole sentences can stand.
        sentences = [_sentence(f) for f in whole.prompt.frames if f.position in _STANDING]
        return " ".join(sentences)
    return _mended(" ".join(s.text for i, s in enumerate(whole.spans) if i != index))


def _sentence(frame: Frame) -> str:
    return frame.text.rstrip(":") + "." if frame.position is Position.COLON else frame.text


def _pieces(text: str) -> list[str]:
    """Sentences; where there is but one, its clauses. Their join with blanks is `text`, its white
    space collapsed."""
    words = " ".join(text.split())
    sentences = [s for s in _SENTENCE_END.split(words) if s]
    if len(sentences) > 1:
        return sentences
    clauses: list[str] = []
    before = 0  # words of the piece before, joined or not
    for piece in _CLAUSE_END.split(words):
        if clauses and min(before, _count(piece)) < FEWEST_WORDS:
            # An enumeration or an aside: no clause of its own.
            clauses[-1] = f"{clauses[-1]} {piece}"
        else:
            clauses.append(piece)
        before = _count(piece)
    return clauses


def _count(text: str) -> int:
    return len(re.findall(r"\w+", text))


def _mended(text: str) -> str:
    text = _JOINT.sub("", text.strip()).rstrip(",;:-–— ")
    return punctuated(capitalised(text)) if any(c.isalnum() for c in text) else ""


_STANDING = (Position.LEAD, Position.COLON, Position.TRAIL)
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+(?=[\"'“‘(]?[A-Z0-9])")
_CLAUSE_END = re.compile(r"(?<=[,;:])\s+|\s+(?=[–—]\s)")
_JOINT = re.compile(r"^(?:[,;:–—-]+\s*)?(?:(?:and|but|so|or|then)\s+)?", re.IGNORECASE)
