"""Plain words for figurative ones: the substitutions of `substitutions.py` read backwards.

Knows the rules, not why somebody wants a word back.
"""

from __future__ import annotations

import re
from functools import lru_cache

from evo.operators.lexical.substitutions import SUBSTITUTIONS, inflect


def plainer(text: str) -> list[tuple[str, str, int]]:
    """Each figure of speech that a rule may have written: (figure, plain word, where it begins).

    >>> plainer("How can I kill a Python process?")
    [('kill', 'stop', 10)]
    """
    found = [
        (match[0], plain, match.start())
        for pattern, plain in _reversed()
        for match in pattern.finditer(text)
    ]
    return sorted(dict.fromkeys(found), key=lambda one: one[2])


@lru_cache(maxsize=1)
def _reversed() -> tuple[tuple[re.Pattern[str], str], ...]:
    rules: list[tuple[re.Pattern[str], str]] = []
    for rule in SUBSTITUTIONS:
        behind = rf"(?=\s+(?:(?!(?:not|and|or)\b)[\w'’-]+\s+){{0,3}}(?:{rule.objects})\b)"
        for form in range(4):
            plain = inflect(rule.verbs[0], form)
            for figure in rule.figures:
                found = rf"\b{re.escape(inflect(figure, form))}{behind}"
                rules.append((re.compile(found, re.IGNORECASE), plain))
    return tuple(rules)
