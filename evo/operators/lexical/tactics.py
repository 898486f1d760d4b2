"""A user's tactics as templates of the grammar: their frames, word for word.

A frame that the grammar wrote keeps the grammar's care (what is guarded stays guarded); any other is
kept away from requests that name people or grave matters.
"""

from __future__ import annotations

from collections.abc import Sequence

from evo.operators.lexical.grammar import Position, Template, pattern
from evo.operators.lexical.prompt import templates
from evo.tactics import Tactic, TacticFrame
from evo.types import Strategy


def tactic_templates(tactics: Sequence[Tactic]) -> dict[Strategy, tuple[Template, ...]]:
    """The templates of every tactic that has frames.

    >>> frame = TacticFrame(position="lead", text="My toaster is possessed.")
    >>> tactic = Tactic(name="toaster", instruction="Blame a toaster.", frames=[frame])
    >>> [t.text for group in tactic_templates([tactic]).values() for t in group]
    ['My toaster is possessed.']
    """
    return {
        tactic.strategy: tuple(_template(frame, tactic.strategy) for frame in tactic.frames)
        for tactic in tactics
        if tactic.frames
    }


def _template(frame: TacticFrame, strategy: Strategy) -> Template:
    position = Position(frame.position)
    known = [
        t
        for group in templates().values()
        for t in group
        if t.position is position
        and frame.text.casefold().startswith(t.prefix)
        and pattern(t).fullmatch(frame.text)
    ]
    guarded = all(t.guarded for t in known)  # of an unknown frame too
    return Template(frame.text, strategy, position, guarded)
