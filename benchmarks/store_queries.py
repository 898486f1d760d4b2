"""The documented queries, each as a call with changing arguments: for `store_scale.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select, text

from db import queries
from db.lineage import lineage
from db.models import Prompt, Run, Target
from db.query import Query
from db.store import Store
from evo.types import MUTATIONS


@dataclass(frozen=True, slots=True)
class Arguments:
    """What there is to ask for in this database."""

    runs: tuple[str, ...]
    targets: tuple[str, ...]
    words: tuple[str, ...]
    pairs: tuple[str, ...]  # of words, as they stand in a prompt
    prompt_ids: tuple[str, ...]

    @classmethod
    def of(cls, store: Store) -> Arguments:
        with store.reading() as connection:
            runs = tuple(connection.scalars(select(Run.name).order_by(Run.started_at)))
            some = connection.execute(
                select(Prompt.prompt_id, Prompt.text).order_by(Prompt.prompt_id).limit(200)
            ).all()
            targets = tuple(
                connection.scalars(select(Target.model).distinct().order_by(Target.model))
            )
        split = [row.text.split() for row in some]
        words = sorted({w for words in split for w in words if len(w) > 4})
        pairs = sorted({" ".join(words[1:3]) for words in split if len(words) > 3})
        ids = tuple(row.prompt_id for row in some)
        return cls(runs, targets, tuple(words), tuple(pairs), ids)


Ask = Callable[[Store, Arguments, np.random.Generator], Any]


def _one(rng: np.random.Generator, items: tuple[str, ...]) -> str:
    return items[int(rng.integers(len(items)))]


def _query(**filters: Any) -> Ask:
    """A query of twenty rows; what is callable is drawn anew each time."""

    def ask(store: Store, known: Arguments, rng: np.random.Generator) -> Any:
        drawn = {k: v(known, rng) if callable(v) else v for k, v in filters.items()}
        sort = str(drawn.pop("sort", "fitness"))
        return Query(store).where(**drawn).sorted(sort).limit(20).rows()

    return ask


def _view(sql: str) -> Ask:
    def ask(store: Store, known: Arguments, rng: np.random.Generator) -> Any:
        values = {"prompt": _one(rng, known.prompt_ids), "run": _one(rng, known.runs)}
        used = {key: value for key, value in values.items() if f":{key}" in sql}
        with store.reading() as connection:
            return connection.execute(text(sql), used).all()

    return ask


def run(known: Arguments, rng: np.random.Generator) -> str:
    return _one(rng, known.runs)


def target(known: Arguments, rng: np.random.Generator) -> str:
    return _one(rng, known.targets)


def first_target(known: Arguments, _: np.random.Generator) -> tuple[str, ...]:
    return known.targets[:1]


def last_target(known: Arguments, _: np.random.Generator) -> tuple[str, ...]:
    return known.targets[-1:]


def strategy(_: Arguments, rng: np.random.Generator) -> str:
    return _one(rng, tuple(MUTATIONS))


def word(known: Arguments, rng: np.random.Generator) -> str:
    return _one(rng, known.words)


def two_words(known: Arguments, rng: np.random.Generator) -> str:
    return _one(rng, known.pairs)


QUERIES: dict[str, Ask] = {
    "runs": lambda s, a, r: queries.runs(s),
    "show RUN": lambda s, a, r: queries.run_summary(s, run(a, r)),
    "lineage PROMPT": lambda s, a, r: lineage(s, _one(r, a.prompt_ids)),
    "query": _query(),
    "--run": _query(run=run),
    "--target": _query(target=target),
    "--strategy": _query(strategy=strategy),
    "--strategy FAMILY --min-refusal": _query(strategy="extreme_emotion", min_refusal=0.5),
    "--min-refusal --sort refusal": _query(min_refusal=0.9, sort="refusal"),
    "--safety harmless": _query(safety="harmless"),
    "--safety harmful": _query(safety="harmful"),
    "--like WORD": _query(like=word),
    "--like TWO WORDS": _query(like=two_words),
    "--run --like": _query(run=run, like=word),
    "--disagree": _query(disagree=True),
    "--boundary": _query(boundary=True),
    "--refused-by --answered-by": _query(refused_by=first_target, answered_by=last_target),
    "--sort cliff": _query(sort="cliff"),
    "--sort novelty --run": _query(sort="novelty", run=run),
    "v_prompts by id": _view("SELECT * FROM v_prompts WHERE prompt_id = :prompt"),
    "v_over_refusals of a run": _view("SELECT * FROM v_over_refusals WHERE run = :run LIMIT 20"),
    "v_samples by id": _view("SELECT * FROM v_samples WHERE prompt_id = :prompt"),
}

OF_TWO_TARGETS = frozenset({"--refused-by --answered-by"})
