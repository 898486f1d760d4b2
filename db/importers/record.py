"""From rows of a file to prompts and their sources: what is new, what is there already, what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.bulk import execute_rows
from db.importers.seen import Seen
from db.models import Prompt, PromptSource, storable, utc_now
from db.rows import chunks, insert_new
from db.store import Store
from evo.types import prompt_id

# A batch is full at so many rows, or at so many characters: a cell may have megabytes.
_ROWS = 2000
_CHARACTERS = 8_000_000
_LONGEST_KEY = 200
# Labels are few; where they are not, the column was another thing.
_LABELS = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a file as its format reads it, with its place in the file. `text` should be a string."""

    place: str
    text: Any
    label: str | None
    category: str | None
    key: str | None


@dataclass(slots=True)
class Counts:
    """What became of the rows. `skipped` and `changed` have the number and the first place of each."""

    read: int = 0
    new: int = 0
    linked: int = 0
    repeated: int = 0
    skipped: dict[str, tuple[int, str]] = field(default_factory=dict)
    changed: dict[str, tuple[int, str]] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "new": self.new,
            "linked": self.linked,
            "repeated": self.repeated,
            "skipped": _reasons(self.skipped),
            "changed": _reasons(self.changed),
            "labels": dict(self.labels.most_common()),
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """A row that has a prompt."""

    prompt_id: str
    text: str
    label: str | None
    category: str | None
    row_key: str
    is_repeated: bool


def write(store: Store, source: str, licence: str | None, entries: Iterable[Entry]) -> Counts:
    """Store the entries in one transaction, and count them.

    Raises:
        StoreError: the database; nothing is written.
    """
    counts, now = Counts(), utc_now()
    with store.writing() as connection:
        for batch in _batches(entries, counts):
            _count(connection, batch, counts)
            fresh = [
                {
                    "prompt_id": found.prompt_id,
                    "text": found.text,
                    "source": source,
                    "licence": licence,
                    "created_at": now,
                }
                for found in batch
                if not found.is_repeated
            ]
            insert_new(connection, Prompt, fresh)
            links = [
                {
                    "prompt_id": found.prompt_id,
                    "source": source,
                    "row_key": found.row_key,
                    "licence": licence,
                    "label": found.label,
                    "category": found.category,
                    "imported_at": now,
                }
                for found in batch
            ]
            links.sort(key=itemgetter("prompt_id", "row_key"))  # or two writers could wait mutually
            for chunk in chunks(links):
                execute_rows(connection, _upsert(connection.dialect.name), chunk)
        if licence is not None:  # of an earlier import that did not know it
            connection.execute(
                update(Prompt)
                .where(Prompt.source == source, Prompt.licence.is_(None))
                .where(
                    Prompt.prompt_id.in_(
                        select(PromptSource.prompt_id).where(PromptSource.source == source)
                    )
                )
                .values(licence=licence)
            )
    return counts


def count(store: Store | None, entries: Iterable[Entry]) -> Counts:
    """What `write` would count; without a store, in an empty database."""
    counts = Counts()
    if store is None:
        for batch in _batches(entries, counts):
            _count(None, batch, counts)
        return counts
    with store.reading() as connection:
        for batch in _batches(entries, counts):
            _count(connection, batch, counts)
    return counts


def _batches(entries: Iterable[Entry], counts: Counts) -> Iterator[list[_Found]]:
    """The rows that have a prompt, some at a time; what is left out is counted."""
    batch: list[_Found] = []
    size = 0
    with Seen() as seen:
        for entry in entries:
            counts.read += 1
            reason = _left_out(entry.text)
            if reason is not None:
                _note(counts.skipped, reason, entry.place)
                continue
            text = storable(entry.text)
            if text is not entry.text and text != entry.text:
                _note(counts.changed, "NUL or half a surrogate pair", entry.place)
            label = None if entry.label is None else storable(entry.label)
            if label is not None and (label in counts.labels or len(counts.labels) < _LABELS):
                counts.labels[label] += 1
            identifier = prompt_id(text)
            key = storable(entry.key or f"row {counts.read}")[:_LONGEST_KEY]
            repeated = not seen.add(identifier)
            category = None if entry.category is None else storable(entry.category)
            batch.append(_Found(identifier, text, label, category, key, repeated))
            size += len(text)
            if len(batch) == _ROWS or size > _CHARACTERS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def _left_out(text: Any) -> str | None:
    """Why a row has no prompt; None: it has one."""
    if text is None or (isinstance(text, float) and text != text):
        return "empty"
    if not isinstance(text, str):
        return "not text"
    return None if text.strip() else "empty"


def _count(connection: Connection | None, batch: Sequence[_Found], counts: Counts) -> None:
    first = [found.prompt_id for found in batch if not found.is_repeated]
    there = 0
    if connection is not None:
        there = sum(
            len(
                connection.execute(
                    select(Prompt.prompt_id).where(Prompt.prompt_id.in_(chunk))
                ).all()
            )
            for chunk in chunks(first)
        )
    counts.repeated += len(batch) - len(first)
    counts.linked += there
    counts.new += len(first) - there


def _note(reasons: dict[str, tuple[int, str]], reason: str, place: str) -> None:
    n, first = reasons.get(reason, (0, place))
    reasons[reason] = (n + 1, first)


def _reasons(reasons: Mapping[str, tuple[int, str]]) -> dict[str, dict[str, Any]]:
    return {reason: {"n": n, "first": first} for reason, (n, first) in reasons.items()}


@cache
def _upsert(dialect: str) -> Insert:
    """The same object every time, so that it is compiled once."""
    made = (sqlite if dialect == "sqlite" else postgresql).insert(PromptSource.__table__)
    statement: Insert = made.on_conflict_do_update(
        index_elements=["prompt_id", "source", "row_key"],
        set_={
            name: made.excluded[name] for name in ("licence", "label", "category", "imported_at")
        },
    )
    return statement
