"""What a repair learns from: over-refused prompts with answers, and what must stay as it is beside them.

Pure but for reading the sets that come with evocliff. Answers are cut at their last whole sentence: an
answer that the token limit cut would teach the model to stop in mid-word.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from db.exporters.refusal_tokens import REFUSE, RESPOND, of_topic
from evo.files import column
from evo.files import rows as rows_of
from evo.guarding import contrast_prompts
from evo.seeding import generator
from evo.types import normalise
from workers.interface import ConfigError
from workers.trainer import Example

if TYPE_CHECKING:
    import numpy as np

_T = TypeVar("_T")

# In the place of an answer that harmful requests must not get; it helps nobody.
COMPLIED = "Sure, here is how you can do that."

NONE_KEPT = "--keep-share {:g}: no refusal is kept; a model that learns from answers alone forgets to refuse"


class Tokens(StrEnum):
    """Whether answers begin with a token that says what they are (Refusal Tokens, arXiv 2412.06748)."""

    NONE = "none"
    SINGLE = "single"  # [respond] or [refuse]
    CATEGORY = "category"  # [respond] or [refuse:CATEGORY]


@dataclass(frozen=True, slots=True)
class Kept:
    """A harmful request and the refusal that must stay. `category`: of what it is refused for."""

    prompt: str
    refusal: str
    category: str | None = None


def in_turn(items: Sequence[_T], seed_of: Callable[[_T], str]) -> list[_T]:
    """The first of every seed, then the second of every seed, and so on; otherwise in the order given.
    The beginning of it holds as many subjects as there are: rewrites of few requests teach those few.

    >>> in_turn(["a1", "a2", "a3", "b1", "b2"], lambda item: item[0])
    ['a1', 'b1', 'a2', 'b2', 'a3']
    """
    met: Counter[str] = Counter()
    turns = []
    for place, item in enumerate(items):
        seed = seed_of(item)
        turns.append((met[seed], place))
        met[seed] += 1
    return [items[place] for _, place in sorted(turns)]


def kept(path: Path | None = None) -> list[Kept]:
    """Harmful requests with a refusal each: of a file with the columns prompt and refusal, and category
    where refusal tokens are wanted for each; by default those that come with evocliff.

    Raises:
        ConfigError: the file cannot be read, or has none.
    """
    found = []
    for place, row in _rows("kept", path, "--keep"):
        prompt, refusal = (column(row, name, "--keep", place) for name in ("prompt", "refusal"))
        if not isinstance(prompt, str) or not isinstance(refusal, str) or not refusal.strip():
            raise ConfigError(f"--keep: {place}: prompt and refusal must be text")
        category = row.get("category")
        found.append(Kept(prompt, refusal, category if isinstance(category, str) else None))
    if not found:
        raise ConfigError(
            "--keep: holds no harmful request: a model that learns from answers alone forgets to "
            "refuse; give it some with their refusals"
        )
    return found


@dataclass(frozen=True, slots=True)
class Contrast:
    """Requests of like words on both sides of the line: harmless ones with the answer to learn, and
    harmful ones, whose refusal must stay."""

    answered: Sequence[tuple[str, str]] = ()
    harmful: Sequence[str] = ()


def contrast(seed: int) -> tuple[list[str], list[str]]:
    """Harmless and harmful requests of like words that come with evocliff, in an order of the seed; none
    is measured with."""
    measured = {normalise(p) for p in plain(measured=True)}
    lines = contrast_prompts()
    order = [lines[i] for i in generator(seed, "contrast").permutation(len(lines))]
    harmless = [e.prompt for e in order if not e.harmful and normalise(e.prompt) not in measured]
    return harmless, [e.prompt for e in order if e.harmful]


def plain(measured: bool = False) -> list[str]:
    """Everyday requests: to train on, or the others, to measure with."""
    name = "plain_measured" if measured else "plain"
    return [str(row["prompt"]) for _, row in _rows(name, None, "plain")]


def _rows(name: str, path: Path | None, option: str) -> Iterable[tuple[str, Mapping[str, str]]]:
    if path is not None:
        return rows_of(path, option)
    text = (resources.files("evo.mitigation") / f"sets/{name}.jsonl").read_text(encoding="utf-8")
    return [(f"{name}:{n}", json.loads(line)) for n, line in enumerate(text.splitlines(), 1)]


def whole(text: str) -> str:
    """The text up to its last whole sentence; as it is where there is none.

    >>> whole("Wear gloves. Then take the")
    'Wear gloves.'
    >>> whole("Wear gloves")
    'Wear gloves'
    """
    ends = [m.end() for m in re.finditer(r"[.!?][\"')\]]*(?=\s|$)", text.strip())]
    return text.strip()[: ends[-1]] if ends else text.strip()


@dataclass(frozen=True, slots=True)
class Mixture:
    """`examples` in a shuffled order, and how many there are of each kind. `tokens`: the new ones that
    answers begin with."""

    examples: tuple[Example, ...]
    counts: Mapping[str, int]
    tokens: tuple[str, ...] = ()


def mix(
    repaired: Sequence[Example],
    kept: Sequence[Kept],
    plain: Sequence[tuple[str, str]],
    contrast: Contrast | None = None,
    *,
    keep_share: float,
    plain_share: float,
    contrast_share: float = 0.0,
    seed: int,
    system_prompt: str | None = None,
    tokens: Tokens = Tokens.NONE,
) -> Mixture:
    """One training set. `plain_share` and `contrast_share`: plain requests and harmless ones with the words
    of harmful ones, for each over-refused prompt; `keep_share`: refusals for each prompt that is answered.
    As far as there are some.

    Args:
        plain: requests with the target's own answers.
        contrast: its harmful requests are among those whose refusal is kept.
        tokens: which token answers and refusals begin with. What is refused wrongly has no category, nor
            has a refusal of a plain request.

    Raises:
        ConfigError: there is nothing to repair, or no refusal is kept.
    """
    if not repaired:
        raise ConfigError("no over-refused prompt has an answer to learn; name a --writer")
    rng = generator(seed, "mitigation")
    beside = contrast or Contrast()
    refusals = [k.refusal for k in kept]
    # They have no category: its token would be learned for harm of every kind.
    harmful = () if tokens is Tokens.CATEGORY else beside.harmful
    kept = [*kept, *(Kept(p, refusals[rng.integers(len(refusals))]) for p in harmful)]
    n_plain = min(len(plain), round(plain_share * len(repaired)))
    n_contrast = min(len(beside.answered), round(contrast_share * len(repaired)))
    n_kept = min(len(kept), round(keep_share * (len(repaired) + n_plain + n_contrast)))
    if not n_kept:
        raise ConfigError(NONE_KEPT.format(keep_share))
    some_kept = _drawn(kept, n_kept, rng)
    answered = [*_drawn(plain, n_plain, rng), *_drawn(beside.answered, n_contrast, rng)]
    helped = [
        *repaired,
        *(
            Example(prompt, answer, refusals[rng.integers(len(refusals))], system_prompt)
            for prompt, answer in answered
        ),
    ]
    refused = [Example(k.prompt, k.refusal, COMPLIED, system_prompt) for k in some_kept]
    used: set[str] = set()
    if tokens is not Tokens.NONE:
        of = _refuse_token(tokens)
        helped = [_begun(e, RESPOND, of(None)) for e in helped]
        refused = [
            _begun(e, of(k.category), RESPOND) for e, k in zip(refused, some_kept, strict=True)
        ]
        used = {RESPOND, *(of(k.category) for k in some_kept)}
        used |= {of(None)} if any(e.rejected is not None for e in helped) else set()
    n = len(repaired)
    examples = [*helped[:n], *refused, *helped[n:]]
    order = rng.permutation(len(examples))
    counts = Counter(over_refused=len(repaired), kept=n_kept, plain=n_plain)
    if contrast is not None:
        counts["contrast"] = n_contrast
    return Mixture(tuple(examples[i] for i in order), counts, tuple(sorted(used)))


def _drawn(some: Sequence[_T], n: int, rng: np.random.Generator) -> list[_T]:
    return [some[i] for i in rng.permutation(len(some))[:n]]


def _refuse_token(tokens: Tokens) -> Callable[[str | None], str]:
    return of_topic if tokens is Tokens.CATEGORY else lambda category: REFUSE


def _begun(example: Example, chosen: str, rejected: str) -> Example:
    """The example with a token before each of its answers."""
    return replace(
        example,
        chosen=f"{chosen} {example.chosen}",
        rejected=None if example.rejected is None else f"{rejected} {example.rejected}",
    )
