"""The smallest edit that turns a refused prompt into an answered one: ask/tell, no I/O.

Delta debugging (Zeller and Hildebrandt 2002, "Simplifying and isolating failure-inducing input",
IEEE TSE 28(2), algorithm ddmin) over the words of one prompt. Knows texts, refusal rates and a budget
of tokens; does not know who measures a probe, what a gate is or where anything is stored. A
search asks the same after the same answers, so one that was cut off is done again from what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from evo.edits import Edit, Edits, apply, difference, joined, n_words, removal, spans, words
from evo.operators.lexical.plain import plainer
from evo.operators.lexical.sensitive import salient_words
from evo.types import prompt_id

# A prompt of more words is not taken apart word by word where no span flips it.
_MOST_SINGLE_WORDS = 40
Steps = Generator[list["Probe"], None, None]


class Source(StrEnum):
    """Where an edit comes from: a relative in the search, or a part of the prompt itself."""

    LINEAGE = "lineage"
    SPAN = "span"


@dataclass(frozen=True, slots=True)
class Rate:
    """A refusal rate in [0, 1] over `n` scored samples with its Wilson interval."""

    rate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt of the search: `n_samples` of it were there before."""

    text: str
    n_samples: int


@dataclass(frozen=True, slots=True)
class Limits:
    """`first` samples of every probe, `most` of one that seems to be on the other side, twice as
    many where the interval still straddles `threshold`. `target_tokens`: all that may be generated;
    `sample_tokens`: the most that one sample takes. `near`: the least cosine of the two sides of a
    pair; what is farther away flips too, but is another prompt."""

    first: int
    most: int
    threshold: float
    target_tokens: int
    sample_tokens: int
    near: float = 0.6


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask for the refusal rate of a text by its first `n_samples` samples."""

    text: str
    n_samples: int

    @property
    def prompt_id(self) -> str:
        return prompt_id(self.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe gave. `rate` is None where a gate turned the text away or nobody could score it;
    `tokens` of all its samples that were not there before the boundary search, whoever drew them;
    `cosine` to the refused prompt."""

    rate: Rate | None
    tokens: int
    cosine: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two sides. `clear`: the intervals of both lie wholly on their sides of the threshold."""

    refused: str
    answered: str
    edits: Edits
    source: Source
    refused_rate: Rate
    answered_rate: Rate
    cosine: float
    clear: bool

    @property
    def n_words(self) -> int:
        return n_words(self.edits)

    @property
    def refused_id(self) -> str:
        return prompt_id(self.refused)

    @property
    def answered_id(self) -> str:
        return prompt_id(self.answered)


@dataclass(frozen=True, slots=True)
class _Try:
    """Edits that are tried together; `units` are what a smaller try is made of."""

    units: Edits
    text: str
    source: Source

    @property
    def n_words(self) -> int:
        return n_words(joined(self.units))


@dataclass(slots=True)
class BoundarySearch:
    """The search of one prompt: `ask` until it gives nothing, `tell` the answers in the same order.

    Smallest is: fewest words changed, then the higher cosine; clear pairs before all others.
    """

    refused: Text
    relatives: Sequence[Text]  # parents and children in the search
    limits: Limits
    spent: int = 0  # tokens
    cut_short: bool = False  # a probe was left out because the budget had no room for it
    tried: list[_Try] = field(default_factory=list)
    _answers: dict[str, Answer] = field(default_factory=dict)
    _asked: list[Probe] = field(default_factory=list)
    _have: dict[str, int] = field(default_factory=dict)  # prompt id -> samples
    _steps: Steps | None = None

    def ask(self) -> list[Probe]:
        """The next probes; empty when the search is over."""
        if self._asked:
            raise ValueError("tell the answers of the last probes before you ask again")
        if self._steps is None:
            self._have = {prompt_id(t.text): t.n_samples for t in [*self.relatives, self.refused]}
            self._steps = self._search()
        self._asked = next(self._steps, [])
        return self._asked

    def samples_before(self, identity: str) -> int:
        """How many samples of a prompt were there before this search."""
        texts = [*self.relatives, self.refused]
        return next((t.n_samples for t in texts if prompt_id(t.text) == identity), 0)

    def tell(self, answers: Sequence[Answer]) -> None:
        for probe, answer in zip(self._asked, answers, strict=True):
            before = self._answers.get(probe.prompt_id)
            self.spent += answer.tokens - (before.tokens if before else 0)
            self._answers[probe.prompt_id] = answer
            self._have[probe.prompt_id] = max(self._have.get(probe.prompt_id, 0), probe.n_samples)
        self._asked = []

    @property
    def pair(self) -> Pair | None:
        """The best pair so far."""
        here = self._rate(self.refused.text)
        best = self._best()
        if best is None or here is None or not self._is_refused:
            return None
        there = self._rate(best.text)
        if there is None:
            return None
        return Pair(
            refused=self.refused.text,
            answered=best.text,
            edits=joined(best.units),
            source=best.source,
            refused_rate=here,
            answered_rate=there,
            cosine=self._cosine(best),
            clear=self._is_clear(best) and here.low >= self.limits.threshold,
        )

    # The way of the search

    def _search(self) -> Steps:
        yield from self._measure([self.refused.text], self.limits.most)
        if not self._is_refused:
            return
        here = self._rate(self.refused.text)
        if here is not None and here.low < self.limits.threshold:
            yield from self._measure([self.refused.text], 2 * self.limits.most)
            if not self._is_refused:
                return
        yield from self._screen(self._first_tries())
        yield from self._confirm()
        if self._best() is None:
            yield from self._screen(self._single_words())
            yield from self._confirm()
        shrunk: set[str] = set()
        while (large := self._to_shrink(shrunk)) is not None:
            shrunk.add(large.text)
            yield from self._shrink(large)

    def _first_tries(self) -> list[_Try]:
        """Relatives whole and place by place, frames and clauses, figures made plain again, and
        sensitive words: the fewest words first."""
        text = self.refused.text
        tries: list[_Try] = []
        for relative in self.relatives:
            groups = difference(text, relative.text)
            if 2 * sum(len(e.inserted) for g in groups for e in g) > len(words(text)):
                continue  # of a recombination: another request
            tries += self._tries(groups, Source.LINEAGE)
            tries += self._tries([tuple(e for g in groups for e in g)], Source.LINEAGE)
        tries += self._tries([removal(text, a, b) for a, b in spans(text)], Source.SPAN)
        tries += self._tries(self._plain_words(), Source.SPAN)
        sensitive = set(salient_words(text))
        tries += self._tries(
            [
                removal(text, place, place + 1)
                for place, word in enumerate(words(text))
                if sensitive & set(re.findall(r"[\w'’-]+", word.casefold()))
            ],
            Source.SPAN,
        )
        return sorted(tries, key=lambda t: t.n_words)

    def _plain_words(self) -> list[Edits]:
        text = self.refused.text
        starts = [match.start() for match in re.finditer(r"\S+", text)]
        edits: list[Edits] = []
        for figure, plain, place in plainer(text):
            if place in starts:
                start, old = starts.index(place), tuple(figure.split())
                if tuple(words(text)[start : start + len(old)]) == old:
                    edits.append((Edit(start, old, tuple(plain.split())),))
        return edits

    def _single_words(self) -> list[_Try]:
        n = min(len(words(self.refused.text)), _MOST_SINGLE_WORDS)
        units = [removal(self.refused.text, place, place + 1) for place in range(n)]
        return self._tries(units, Source.SPAN)

    def _shrink(self, large: _Try) -> Steps:
        """ddmin: parts, then what is left without each part, then smaller parts."""
        units, parts = large.units, 2
        while len(units) >= 2:
            cuts = [
                units[i * len(units) // parts : (i + 1) * len(units) // parts] for i in range(parts)
            ]
            rests = [tuple(u for u in units if u not in cut) for cut in cuts] if parts > 2 else []
            for options in (cuts, rests):
                tries = self._tries(options, large.source, again=True)
                yield from self._screen(tries)
                yield from self._confirm()
                flips = [t for t in tries if self._is_sure(t) and self._is_clear(t)]
                if not flips and not self._is_clear(large):
                    flips = [t for t in tries if self._is_sure(t)]
                if flips:
                    break
            else:
                if parts == len(units):
                    return
                parts = min(len(units), 2 * parts)
                continue
            smallest = min(flips, key=self._size)
            units, parts = smallest.units, 2 if options is cuts else max(parts - 1, 2)

    def _to_shrink(self, shrunk: set[str]) -> _Try | None:
        """The smallest that flips, while something smaller than the best may be in it."""
        best = self._best()
        if best is not None and best.n_words <= 1 and self._is_clear(best):
            return None
        flips = [t for t in self.tried if self._is_sure(t) and t.text not in shrunk]
        return min((t for t in flips if len(t.units) > 1), key=self._size, default=None)

    # Measuring

    def _screen(self, tries: Sequence[_Try]) -> Steps:
        yield from self._measure([t.text for t in tries], self.limits.first)

    def _confirm(self) -> Steps:
        """More samples of what looks answered and would be the best, the smallest first."""
        for count in (self.limits.most, 2 * self.limits.most):
            while True:
                best = self._best()
                open_ = [
                    t
                    for t in self.tried
                    if self._looks_answered(t)
                    and not (self._is_sure(t) and self._is_clear(t))
                    and self._n(t) < count
                    and (
                        best is None
                        or not self._is_clear(best)
                        or self._size(t)[1:] < self._size(best)[1:]
                    )
                ]
                if not open_:
                    break
                smallest = min(open_, key=lambda t: self._size(t)[1:])
                before = self._n(smallest)
                yield from self._measure([smallest.text], count)
                if self._n(smallest) == before:  # no room in the budget
                    return

    def _measure(self, texts: Iterable[str], count: int) -> Steps:
        """Ask for so many samples of each text that has fewer, as far as the budget has room."""
        probes: list[Probe] = []
        left = self.limits.target_tokens - self.spent
        for text in dict.fromkeys(texts):
            identity = prompt_id(text)
            answer = self._answers.get(identity)
            if answer is not None and (answer.rate is None or self._have[identity] >= count):
                continue
            cost = max(0, count - self._have.get(identity, 0)) * self.limits.sample_tokens
            if cost > left:
                self.cut_short = True
                continue
            left -= cost
            probes.append(Probe(text, max(count, 1)))
        if probes:
            yield probes

    def _tries(
        self, options: Iterable[Edits], source: Source, *, again: bool = False
    ) -> list[_Try]:
        """A try for each of these edits that gives a new text; with `again` for known ones too."""
        known = {t.text for t in self.tried}
        met = {prompt_id(self.refused.text)}
        tries: list[_Try] = []
        for units in options:
            if not units:
                continue
            text = apply(self.refused.text, joined(units))
            identity = prompt_id(text)
            if not any(c.isalnum() for c in text) or identity in met:
                continue
            met.add(identity)
            made = _Try(units, text, source)
            if text not in known:
                self.tried.append(made)
            if text not in known or again:
                tries.append(made)
        return tries

    # What the answers say

    def _rate(self, text: str) -> Rate | None:
        answer = self._answers.get(prompt_id(text))
        return answer.rate if answer else None

    def _cosine(self, tried: _Try) -> float:
        answer = self._answers.get(prompt_id(tried.text))
        return answer.cosine if answer else -1.0

    def _n(self, tried: _Try) -> int:
        return self._have.get(prompt_id(tried.text), 0) if self._rate(tried.text) else 0

    @property
    def _is_refused(self) -> bool:
        rate = self._rate(self.refused.text)
        return rate is not None and rate.rate >= self.limits.threshold

    def _looks_answered(self, tried: _Try) -> bool:
        rate = self._rate(tried.text)
        return rate is not None and rate.rate < self.limits.threshold

    def _is_sure(self, tried: _Try) -> bool:
        """Answered by as many samples as a confirmation takes."""
        return self._looks_answered(tried) and self._n(tried) >= self.limits.most

    def _is_clear(self, tried: _Try) -> bool:
        rate = self._rate(tried.text)
        return rate is not None and rate.high < self.limits.threshold

    def _size(self, tried: _Try) -> tuple[bool, int, float]:
        return not self._is_clear(tried), tried.n_words, -self._cosine(tried)

    def _best(self) -> _Try | None:
        near = [t for t in self.tried if self._is_sure(t) and self._cosine(t) >= self.limits.near]
        return min(near, key=self._size, default=None)
