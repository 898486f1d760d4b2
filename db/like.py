"""Prompts that contain a text, found by the three-letter pieces of it.

Case is folded for ASCII letters alone, the same on every database. The index `prompt_text` holds every
spelling of every prompt and only narrows down: the text itself is asked afterwards. A text of fewer
than three letters has no piece, and everything is looked through.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    collate,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.models import storable

_LETTERS = 3
# Each piece more costs a look at all prompts that have it; a few of the rarest narrow down enough.
_PIECES = 6
_LONGEST = 20_000  # as in the migration that made the index
_SPELLINGS = table("prompt_text", column("prompt_id"), column("text"))
# The letters of English, the most frequent first; what is not among them is rarer still.
_FREQUENT = " etaoinsrhldcumfpgwybvkxjqz"
_FOLD = {ord(c): ord(c.lower()) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def folded(text: str) -> str:
    """A text as it is compared.

    >>> folded("Kill É")
    'kill É'
    """
    return storable(text).translate(_FOLD)


def contains(dialect: str, where: Any, text: str) -> ColumnElement[bool]:
    """Whether a column contains a text."""
    wanted = literal(folded(text))
    if dialect == "sqlite":
        return func.instr(func.lower(where), wanted) > 0
    return func.strpos(func.lower(collate(where, "C")), wanted) > 0


def pieces(text: str) -> list[str]:
    """A few rare three-letter pieces of a text, at most `_PIECES`, first such as share no letter: those
    of one rare word alone would say nothing of the words beside it. None if the text is too short.

    >>> pieces("the quick ox")
    ['qui', 'ck ', 'the', ' qu', 'ick', 'e q']
    >>> pieces("ox")
    []
    """
    whole = folded(text)
    first: dict[str, int] = {}  # piece -> where it stands first
    for place in range(len(whole) - _LETTERS + 1):
        first.setdefault(whole[place : place + _LETTERS], place)
    rarest = sorted(first, key=_rarity)
    apart: list[str] = []
    for piece in rarest:
        if len(apart) == _PIECES:
            break
        if all(abs(first[piece] - first[other]) >= _LETTERS for other in apart):
            apart.append(piece)
    rest = (piece for piece in rarest if piece not in apart)
    return [*apart, *islice(rest, _PIECES - len(apart))]


def _rarity(piece: str) -> int:
    """Smaller is rarer."""
    places = [_FREQUENT.find(letter) for letter in piece]
    return -sum((len(_FREQUENT) if place < 0 else place) ** 2 for place in places)


def spelled(dialect: str, text: str) -> Select[Any] | CompoundSelect[Any] | None:
    """Ids of prompts one of whose spellings contains the text; None when no index can tell."""
    wanted = pieces(text)
    if not wanted:
        return None
    ids = select(_SPELLINGS.c.prompt_id).where(contains(dialect, _SPELLINGS.c.text, text))
    if dialect == "sqlite":
        quoted = " ".join('"' + piece.replace('"', '""') + '"' for piece in wanted)
        return ids.where(literal_column("prompt_text").op("MATCH")(literal(quoted)))
    listed = literal([_number(piece) for piece in wanted], ARRAY(BigInteger))
    of_row = func.evocliff_pieces(_SPELLINGS.c.text, type_=ARRAY(BigInteger))
    # Two questions in place of one with OR: of that the planner thinks so ill that it starts workers.
    long = ids.where(func.length(_SPELLINGS.c.text) > _LONGEST)
    return union_all(ids.where(of_row.op("@>")(listed)), long)


def _number(piece: str) -> int:
    """Three code points in one number, as the index has them."""
    first, second, third = map(ord, piece)
    return first << 42 | second << 21 | third


def prompt_ids(connection: Connection, text: str, at_most: int) -> list[str] | None:
    """The ids of prompts that contain the text; None if they are many, or no index can tell."""
    found = spelled(connection.dialect.name, text)
    if found is None:
        return None
    rows = connection.execute(found.limit(at_most + 1)).all()
    return list(dict.fromkeys(str(row[0]) for row in rows)) if len(rows) <= at_most else None
