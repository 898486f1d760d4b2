"""How a response is worded: its words, its sentences, signs of refusing, and how it echoes the prompt.

Pure text, English. What these are worth is for `embedded` to learn and for `classes` to rule on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

# The two windows of words that are looked at: a refusal shows at the beginning, and responses of a
# search are cut after some 50 tokens.
OPENING_WORDS, BODY_WORDS = 25, 90
N_SIGNS = 6 * 2 + 3
N_ECHOES = 3 * 4 + 2
MASK = "<p>"
_READ_CHARS = 4000  # more than the words of the body window; long texts cost nothing
_ECHOED_SENTENCES = 3
_MASKED_PART = 0.5  # a sentence that holds so much of the prompt speaks of what was asked

_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})
_WORD = re.compile(r"[a-z']+|\d+|[^\sa-z\d]")
_ENDINGS = ("ing", "ion", "'s", "ed", "es", "er", "ly", "s")

APOLOGY = re.compile(r"\b(sorry|apologi[sz]e|apologies|regret|afraid)\b")
INABILITY = re.compile(
    r"\b(i|we)('m| am|'re| are)? ?(just |really |simply )?"
    r"(can't|cannot|can not|could not|couldn't|won't|will not|not able|unable|must decline|"
    r"have to decline|decline|refuse|not going to|not comfortable|don't feel comfortable|"
    r"do not|don't|shouldn't|not allowed|not permitted)\b"
)
AS_AI = re.compile(
    r"\b(as an? (ai|artificial|language|responsible|ethical|assistant)|ai language model)\b"
)
MORAL = re.compile(
    r"\b(illegal|unethical|inappropriate|harmful|not appropriate|against the law|unlawful|"
    r"morally|ethical|offensive|dangerous|guidelines|respectful|not acceptable)\b"
)
HELP = re.compile(r"\b(here (is|are)|here's|sure|certainly|of course|step \d|first,|you can)\b")
REDIRECT = re.compile(
    r"\b(instead|if you (have|need)|happy to help|is there (anything|something)|"
    r"other questions?|seek|professional|consult)\b"
)
_SIGNS = (APOLOGY, INABILITY, AS_AI, MORAL, HELP, REDIRECT)
_NEGATION = re.compile(
    r"n't\b|\b(not|no|never|cannot|false|incorrect|inaccurate|wrong|unfair|myth|inappropriate|"
    r"unacceptable)\b"
)
_EMPTY_WORDS = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "to",
        "in",
        "is",
        "it",
        "you",
        "i",
        "and",
        "for",
        "on",
        "with",
        "can",
        "not",
        "no",
        "be",
        "as",
        "this",
        "that",
        "or",
        "if",
        "your",
        "are",
        "by",
        "from",
        "at",
        "do",
        "does",
        "did",
        "my",
        "we",
        "but",
        "have",
        "will",
        "was",
        "what",
        "how",
        "why",
        "who",
        "where",
        "when",
        "should",
        "would",
        "could",
        "me",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "its",
        "our",
        "their",
        "than",
        "then",
        "so",
        "more",
        "most",
        "best",
        "way",
        "which",
        "there",
        "any",
        "some",
    ]
)


def words(response: str) -> list[str]:
    """Lower-case words and marks of the part that is looked at.

    >>> words("I can’t!")
    ['i', "can't", '!']
    """
    read = response[:_READ_CHARS].encode("utf-8", "replace").decode()  # no lone surrogates
    return _WORD.findall(read.translate(_QUOTES).lower())[:BODY_WORDS]


def sentences(tokens: Sequence[str]) -> list[list[str]]:
    """The words of each sentence; a mark after two words or more ends one.

    >>> sentences(["i", "see", ".", "no", "!"])
    [['i', 'see', '.'], ['no', '!']]
    """
    found: list[list[str]] = [[]]
    for token in tokens:
        found[-1].append(token)
        if token in (".", "!", "?", ":") and len(found[-1]) > 2:
            found.append([])
    return [sentence for sentence in found if sentence]


def signs(tokens: Sequence[str]) -> list[float]:
    """Hand-made features of one response, (N_SIGNS,): wording of refusals in the opening and in the
    body, and how long and how listed it is."""
    body = " ".join(tokens)
    opening = " ".join(tokens[:OPENING_WORDS])
    found = [float(bool(p.search(part))) for part in (opening, body) for p in _SIGNS]
    n = len(tokens)
    return [*found, min(n, BODY_WORDS) / BODY_WORDS, float(n < 12), float(tokens.count(":") > 0)]


def content(text: str) -> frozenset[str]:
    """The stems of the words that carry the meaning of a text.

    >>> sorted(content("Why should cats not vote?"))
    ['cat', 'vote']
    """
    return frozenset(_stem(w) for w in words(text) if _carries(w))


def masked(tokens: Sequence[str], asked: Set[str]) -> list[str]:
    """The words with each stretch of the prompt's own content words as one mask: "cats should not
    vote" and "dogs should not drive" become the same refusal of a premise.

    >>> masked(["cats", "should", "not", "vote"], content("Why should cats vote?"))
    ['<p>', 'should', 'not', '<p>']
    """
    found: list[str] = []
    for token in tokens:
        word = MASK if _stem(token) in asked else token
        if word != MASK or found[-1:] != [MASK]:
            found.append(word)
    return found


def echoes(tokens: Sequence[str], asked: Set[str]) -> list[float]:
    """How a response takes up what was asked, (N_ECHOES,): for each of its first sentences the share of
    the prompt's content in it, the same where it is denied, whether it denies anything, and whether
    it denies most of the prompt; then the share in all, and how much is new."""
    found: list[float] = []
    size = max(1, len(asked))
    first = sentences(tokens)[:_ECHOED_SENTENCES]
    for sentence in first:
        share = len({_stem(t) for t in sentence if _carries(t)} & asked) / size
        denies = bool(_NEGATION.search(" ".join(sentence)))
        found += [share, share * denies, float(denies), float(denies and share >= _MASKED_PART)]
    found += [0.0] * 4 * (_ECHOED_SENTENCES - len(first))
    new = sum(_carries(t) and _stem(t) not in asked for t in tokens[:60])
    return [*found, len({_stem(t) for t in tokens} & asked) / size, new / 60]


def _carries(word: str) -> bool:
    return word.isalpha() and word not in _EMPTY_WORDS


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
