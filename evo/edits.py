"""The parts of a prompt that may be taken out of it, and edits over its words. Pure.

Knows words, frames and clauses; knows nothing of targets, refusals or stores.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evo.operators.lexical.prompt import parse

_CLAUSE_END = re.compile(r"[,;:.!?…—–][\"'”’)\]]*$")
_END_MARK = re.compile(r"[.!?…][\"'”’)\]]*$")


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """At word `start` of a text, the words `removed` give way to `inserted`; either may be empty.

    Words are runs of characters without white space, counted from 0.
    """

    start: int
    removed: tuple[str, ...]
    inserted: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        return self.start + len(self.removed)

    @property
    def n_words(self) -> int:
        """Words changed: a word that is replaced by a word counts once."""
        return max(len(self.removed), len(self.inserted))


Edits = tuple[Edit, ...]  # in order of start, none overlapping


def n_words(edits: Sequence[Edit]) -> int:
    return sum(edit.n_words for edit in edits)


def words(text: str) -> list[str]:
    """
    >>> words("How do I\\nkill it?")
    ['How', 'do', 'I', 'kill', 'it?']
    """
    return text.split()


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text after the edits. A capital at its beginning and a mark at its end, which went with
    the words that were taken out, are set again: they are spelling, not wording.

    Raises:
        ValueError: an edit removes words that do not stand there.

    >>> apply("Boss, how do I kill it?", [Edit(0, ("Boss,",)), Edit(5, ("it?",))])
    'How do I kill?'
    """
    pieces = re.findall(r"\S+\s*", text)
    plain = words(text)
    for edit in sorted(edits, reverse=True):
        if tuple(plain[edit.start : edit.end]) != edit.removed:
            raise ValueError(
                f"edit at word {edit.start}: {' '.join(edit.removed)!r} does not stand there"
            )
        if edit.inserted and 0 < edit.start == len(pieces):
            pieces[-1] = f"{pieces[-1].rstrip()} "
        fresh = [f"{word} " for word in edit.inserted]
        if fresh and edit.removed:  # the line break behind the last word stays
            last = pieces[edit.end - 1]
            fresh[-1] = fresh[-1].rstrip() + (last[len(last.rstrip()) :] or " ")
        pieces[edit.start : edit.end] = fresh
    return _mended("".join(pieces).strip(), text.strip())


def _mended(changed: str, original: str) -> str:
    if original[:1].isupper() and changed[:1].islower():
        changed = changed[:1].upper() + changed[1:]
    mark = _END_MARK.search(original)
    if changed and mark and not _END_MARK.search(changed):
        changed = changed.rstrip(",;:—– ") + mark[0]
    return changed


def removal(text: str, start: int, end: int) -> Edits:
    """Taking out the words from `start` to before `end`, one edit for each word, so that a smaller
    part of it can be tried."""
    plain = words(text)
    return tuple(Edit(place, (plain[place],)) for place in range(start, end))


def joined(edits: Sequence[Edit]) -> Edits:
    """The same edits with those that touch made one.

    >>> joined([Edit(1, ("a",)), Edit(2, ("b",), ("c",))])
    (Edit(start=1, removed=('a', 'b'), inserted=('c',)),)
    """
    together: list[Edit] = []
    for edit in sorted(edits):
        if together and together[-1].end == edit.start:
            last = together.pop()
            edit = Edit(last.start, last.removed + edit.removed, last.inserted + edit.inserted)
        together.append(edit)
    return tuple(together)


def difference(text: str, other: str) -> tuple[Edits, ...]:
    """What makes `other` of `text`: one group of edits for each place where they differ.

    Where as many words stand on both sides, each word is an edit of its own, and so is each word
    that only `text` has.

    >>> [group[0] for group in difference("How do I kill it?", "How do I stop it?")]
    [Edit(start=3, removed=('kill',), inserted=('stop',))]
    """
    old, new = words(text), words(other)
    groups: list[Edits] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            continue
        if tag == "delete":
            groups.append(removal(text, i, j))
        elif tag == "replace" and j - i == m - k:
            groups.append(tuple(Edit(i + n, (old[i + n],), (new[k + n],)) for n in range(j - i)))
        else:
            groups.append((Edit(i, tuple(old[i:j]), tuple(new[k:m])),))
    return tuple(groups)


def spans(text: str) -> list[tuple[int, int]]:
    """Frames of the built-in grammar, then clauses: (first word, word behind the last), each once,
    none the whole text."""
    n = len(words(text))
    found = [*_frames(text), *_clauses(text)]
    return [span for span in dict.fromkeys(found) if 0 < span[1] - span[0] < n]


def _frames(text: str) -> Iterator[tuple[int, int]]:
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    for frame in parse(text).frames:
        place = text.find(frame.text)
        if place < 0:  # the parse collapses white space
            continue
        inside = [i for i, s in enumerate(starts) if place <= s < place + len(frame.text)]
        if inside:
            yield inside[0], inside[-1] + 1


def _clauses(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for place, word in enumerate(words(text)):
        if _CLAUSE_END.search(word):
            yield start, place + 1
            start = place + 1
    if start:
        yield start, len(words(text))
