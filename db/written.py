"""Written responses and what scorers said of them: stored once, read back, the best of each prompt.

Knows the tables; knows nothing of who writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Select, case, func, select
from sqlalchemy.orm import aliased

from db.models import WrittenResponse, WrittenScore
from db.rows import chunks, insert_new
from fitness.constructive import Items, Scored
from fitness.types import ResponseClass

if TYPE_CHECKING:
    from db.store import Store


@dataclass(frozen=True, slots=True)
class Written:
    """One response. `round` 0: written at once; n: after n rounds of advice, of `parent_id`. `chain`: the
    plan that it follows, as JSON."""

    prompt_id: str
    writer: str
    version: str
    round: int
    number: int
    text: str
    finish_reason: str
    parent_id: str | None = None
    chain: str | None = None

    @property
    def written_id(self) -> str:
        """The same response of the same writer is the same one, 32 hex digits."""
        said = f"{self.prompt_id}\0{self.writer}\0{self.version}\0{self.round}\0{self.number}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Best(NamedTuple):
    """The response of a prompt that its scores put first."""

    written_id: str
    text: str
    finish_reason: str
    writer: str
    scorer: str
    score: float
    p_refusal: float | None


class Pair(NamedTuple):
    """A better and a worse written response to one prompt."""

    better: str
    worse: str
    writer: str
    round: int
    scorer: str
    better_score: float
    worse_score: float


def record(store: Store, responses: Sequence[Written]) -> None:
    """Store responses; what is stored stays.

    Raises:
        StoreError: the database cannot be written, or a prompt is not in it.
    """
    if responses:
        with store.writing() as connection:
            rows = [asdict(each) | {"written_id": each.written_id} for each in responses]
            insert_new(connection, WrittenResponse, rows)


def record_scores(store: Store, scores: Sequence[tuple[str, Scored]]) -> None:
    """Store scores of written ids; one by the same scorer in the same version stays.

    Raises:
        StoreError: the database cannot be written.
    """
    if scores:
        with store.writing() as connection:
            insert_new(connection, WrittenScore, [_score_row(*each) for each in scores])


def read(
    store: Store, prompt_ids: Sequence[str], writer: str, version: str
) -> dict[str, list[Written]]:
    """Prompt id -> its responses by this writer, in order of round and number."""
    found: dict[str, list[Written]] = {}
    w = WrittenResponse
    with store.reading() as connection:
        for part in chunks(list(prompt_ids)):
            rows = connection.execute(
                select(w.__table__)
                .where(w.prompt_id.in_(part), w.writer == writer, w.version == version)
                .order_by(w.prompt_id, w.round, w.number)
            ).mappings()
            for row in rows:
                own = {name: row[name] for name in Written.__dataclass_fields__}
                found.setdefault(row["prompt_id"], []).append(Written(**own))
    return found


def scores(
    store: Store, written_ids: Sequence[str], scorer: str, version: str
) -> dict[str, Scored]:
    """Written id -> what this scorer in this version said of it."""
    found: dict[str, Scored] = {}
    s = WrittenScore
    with store.reading() as connection:
        for part in chunks(list(written_ids)):
            rows = connection.execute(
                select(s.__table__).where(
                    s.written_id.in_(part), s.scorer == scorer, s.version == version
                )
            ).mappings()
            found |= {row["written_id"]: _scored(dict(row)) for row in rows}
    return found


def best(connection: Connection, prompt_ids: Sequence[str]) -> dict[str, Best]:
    """Prompt id -> the response that may be chosen with the highest score. One that any scorer calls a
    refusal, unsafe, no help or bad in any item is none; a scorer that sees safety goes before one that does not."""
    w, s = WrittenResponse, WrittenScore
    found: dict[str, Best] = {}
    for part in chunks(list(prompt_ids)):
        spoiled = _spoiled(part)
        rows = connection.execute(
            select(
                w.prompt_id,
                w.written_id,
                w.text,
                w.finish_reason,
                w.writer,
                s.scorer,
                s.score,
                s.p_refusal,
            )
            .join(s, s.written_id == w.written_id)
            .where(w.prompt_id.in_(part), s.score.is_not(None), w.written_id.not_in(spoiled))
            .order_by(w.prompt_id, s.safety.is_(None), s.score.desc(), w.round, w.written_id)
        )
        for r in rows:
            own = Best(r[1], r[2], r[3], r[4], r[5], float(r[6] or 0.0), r[7])
            found.setdefault(r[0], own)
    return found


def pairs(connection: Connection, prompt_ids: Sequence[str]) -> dict[str, list[Pair]]:
    """Prompt id -> versions that a round of advice bettered, beside what they were before, by the score of
    one scorer; the better one may be chosen."""
    better, worse = aliased(WrittenResponse), aliased(WrittenResponse)
    high, low = aliased(WrittenScore), aliased(WrittenScore)
    found: dict[str, list[Pair]] = {}
    for part in chunks(list(prompt_ids)):
        rows = connection.execute(
            select(
                better.prompt_id,
                better.text,
                worse.text,
                better.writer,
                better.round,
                high.scorer,
                high.score,
                low.score,
            )
            .join(worse, worse.written_id == better.parent_id)
            .join(high, high.written_id == better.written_id)
            .join(
                low,
                (low.written_id == worse.written_id)
                & (low.scorer == high.scorer)
                & (low.version == high.version),
            )
            .where(
                better.prompt_id.in_(part),
                high.score > low.score,
                better.text != worse.text,
                better.written_id.not_in(_spoiled(part)),
            )
            .order_by(better.prompt_id, better.round, better.written_id, high.scorer, high.version)
        )
        for r in rows:
            own = Pair(r[1], r[2], r[3], r[4], r[5], float(r[6] or 0.0), float(r[7] or 0.0))
            found.setdefault(r[0], []).append(own)
    return found


def _spoiled(prompt_ids: Sequence[str]) -> Select[str]:
    """Responses to these prompts that some scorer calls a refusal, unsafe, no help or bad in an item."""
    w, s = WrittenResponse, WrittenScore
    refuses = (s.p_refusal >= 0.5) | s.response_class.in_(["hard_refusal", "soft_refusal"])
    bad = refuses | (s.safety == 0.0) | (s.score <= 0.5)
    for name in _names():
        bad = bad | (getattr(s, name) == -1)
    return (
        select(s.written_id)
        .join(w, w.written_id == s.written_id)
        .where(w.prompt_id.in_(prompt_ids))
        .group_by(s.written_id)
        .having(func.max(case((bad, 1), else_=0)) == 1)
    )


def is_any(connection: Connection) -> bool:
    """Whether anything was written at all."""
    return connection.execute(select(WrittenResponse.written_id).limit(1)).first() is not None


def _score_row(written_id: str, said: Scored) -> dict[str, object]:
    return {
        "written_id": written_id,
        "scorer": said.scorer,
        "version": said.version,
        **asdict(said.items),
        "safety": said.safety,
        "p_refusal": said.p_refusal,
        "response_class": None if said.response_class is None else said.response_class.value,
        "score": said.score,
        "unscored_reason": said.unscored_reason,
        "advice": said.advice,
    }


def _scored(row: Mapping[str, object]) -> Scored:
    items = Items(*(row[name] for name in _names()))  # type: ignore[arg-type]  # as they were stored
    kind = row["response_class"]
    return Scored(
        str(row["scorer"]),
        str(row["version"]),
        items,
        row["safety"],  # type: ignore[arg-type]
        row["p_refusal"],  # type: ignore[arg-type]
        None if kind is None else ResponseClass(str(kind)),
        row["score"],  # type: ignore[arg-type]
        row["unscored_reason"],  # type: ignore[arg-type]
        str(row["advice"]),
    )


def _names() -> Iterable[str]:
    return Items.__dataclass_fields__
