"""Before rows are written: which side of a split each goes to, and which of them a benchmark holds.

Walks through the prompts once and keeps of each its id, its vector on disk and a number; `db.leaks`
does the rest.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sqlalchemy import Connection, Select, and_, select

from db import leaks
from db.among import among
from db.exporters.benchmark import Benchmark
from db.exporters.eligible import Selected
from db.models import Embedding, Lineage, Proposal
from evo.types import prompt_id
from workers.interface import ConfigError

# Rows that are as near as this must not lie on two sides, and count as known from a benchmark.
COSINE = 0.95
_CHUNK = 10_000

# Unit vectors (n, dim) of texts by the embedder of that name.
Embed = Callable[[str, Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Known:
    """A prompt of the export that a benchmark holds too; see `leaks.Match`."""

    prompt_id: str
    text: str
    is_exact: bool
    cosine: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The place of each prompt in `sides`, in the order of the walk; -1 for one that is left out.

    groups     sets of prompts that no split may cut
    compared   prompts of the benchmark, and how many of them have a vector
    """

    sides: tuple[str, ...] = ()
    side: NDArray[np.intp] | None = None
    seed: int = 0
    groups: int = 0
    benchmark: str | None = None
    compared: tuple[int, int] = (0, 0)
    known: Sequence[Known] = field(default=())
    dropped: bool = False


def parse_split(text: str) -> dict[str, float]:
    """Shares by name of the side.

    >>> parse_split("train=0.9,test=0.1")
    {'train': 0.9, 'test': 0.1}

    Raises:
        ConfigError: it is not of that form; a name twice, or one that no split can bear.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = (word.strip() for word in part.partition("="))
        number = _number(share)
        if not equals or number is None or not re.fullmatch(r"[A-Za-z]\w{0,39}", name, re.ASCII):
            raise ConfigError(
                f"--split {text}: '{part}' is not NAME=SHARE; write train=0.9,test=0.1"
            )
        if name in shares:
            raise ConfigError(f"--split {text}: '{name}' is there twice")
        shares[name] = number
    return shares


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def make(
    selected: Selected,
    shares: Mapping[str, float] | None,
    seed: int,
    benchmark: Benchmark | None,
    *,
    drop: bool = False,
    embed: Embed | None = None,
) -> Plan:
    """Walk through the prompts once.

    Args:
        drop: leave out what the benchmark holds.
        embed: for prompts of the benchmark without a stored vector; without it they are compared as
            texts alone.

    Raises:
        ConfigError: shares that are none; fewer groups than sides.
    """
    connection, embedder = selected.connection, selected.embedder()
    known: list[Known] = []
    kept_ids: list[str] = []
    keeps: list[NDArray[np.bool_]] = []
    against, vectors = None, None
    if benchmark is not None:
        vectors = _of_benchmark(connection, benchmark, embedder, embed)
        against = leaks.Prompts(benchmark.texts, vectors)
    for batch in selected.batches():
        ids = batch.prompt_id
        keep = np.ones(len(ids), dtype=np.bool_)
        if against is not None:
            own = None if vectors is None else _stored(connection, ids, embedder, vectors.shape[1])
            texts = batch.prompt
            for match in leaks.contaminated(leaks.Prompts(texts, own), against, COSINE):
                known.append(Known(ids[match.row], texts[match.row], match.is_exact, match.cosine))
                keep[match.row] = not drop
        keeps.append(keep)
        if shares is not None:
            kept_ids += [each for each, stays in zip(ids, keep, strict=True) if stays]
    if not selected.n:
        return Plan()
    kept = np.concatenate(keeps)
    side = np.where(kept, 0, -1).astype(np.intp)
    groups = 0
    if shares is not None:
        of_row = _groups(connection, kept_ids, embedder)
        groups = len(np.unique(of_row))
        side[kept] = leaks.split(of_row, shares, seed)
    return Plan(
        sides=tuple(shares or ()),
        side=side,
        seed=seed,
        groups=groups,
        benchmark=None if benchmark is None else benchmark.name,
        compared=(0, 0) if benchmark is None else (len(benchmark.texts), _n_embedded(vectors)),
        known=known,
        dropped=drop,
    )


# What a plan rests on


def _groups(connection: Connection, ids: Sequence[str], embedder: str | None) -> NDArray[np.intp]:
    """Groups that a split must not cut. The vectors lie in a file: they are most of what is read."""
    families = _families(connection, ids)
    dim = _dim(connection, embedder)
    with tempfile.TemporaryFile() as file:
        vectors = np.memmap(file, dtype=np.float32, shape=(max(1, len(ids)), dim), mode="w+")
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            vectors[start : start + len(chunk)] = _stored(connection, chunk, embedder, dim)
        return leaks.components(vectors[: len(ids)], [(each,) for each in families], COSINE)


def _families(connection: Connection, ids: Sequence[str]) -> list[int]:
    """A number for each prompt, the same for those that have an ancestor in common, in any run."""
    place = {each: number for number, each in enumerate(ids)}
    children: list[int] = []
    ancestors: list[int] = []
    frontier = list(ids)
    while frontier:
        fresh: list[str] = []
        for start in range(0, len(frontier), _CHUNK):
            chunk = frontier[start : start + _CHUNK]
            for child, parent in connection.execute(_lineage(connection, chunk)):
                if parent not in place:
                    place[parent] = len(place)
                    fresh.append(parent)
                children.append(place[child or ""])
                ancestors.append(place[parent])
        frontier = fresh
    edges = (np.ones(len(children), dtype=np.int8), (children, ancestors))
    _, family = connected_components(coo_array(edges, shape=(len(place),) * 2), directed=False)
    return [int(number) for number in family[: len(ids)]]


def _lineage(connection: Connection, prompt_ids: Sequence[str]) -> Select[str | None, str]:
    of_proposal = and_(
        Lineage.run_id == Proposal.run_id, Lineage.proposal_index == Proposal.proposal_index
    )
    return (
        select(Proposal.prompt_id, Lineage.parent_prompt_id)
        .join(Lineage, of_proposal)
        .where(among(connection, Proposal.prompt_id, prompt_ids))
    )


def _dim(connection: Connection, embedder: str | None) -> int:
    if embedder is None:
        return 1
    statement = select(Embedding.dim).where(Embedding.embedder == embedder).limit(1)
    return connection.scalar(statement) or 1


def _stored(
    connection: Connection, ids: Sequence[str], embedder: str | None, dim: int
) -> NDArray[np.float32]:
    """Unit vectors (n, dim); zeros where none is stored."""
    vectors = np.zeros((len(ids), dim), dtype=np.float32)
    if embedder is None:
        return vectors
    places: dict[str, list[int]] = {}
    for number, each in enumerate(ids):
        places.setdefault(each, []).append(number)
    rows = connection.execute(
        select(Embedding.prompt_id, Embedding.vector).where(
            Embedding.embedder == embedder,
            Embedding.dim == dim,
            among(connection, Embedding.prompt_id, places),
        )
    )
    for each, vector in rows:
        vectors[places[each]] = np.frombuffer(vector, dtype="<f4")
    return vectors


def _of_benchmark(
    connection: Connection, benchmark: Benchmark, embedder: str | None, embed: Embed | None
) -> NDArray[np.float32] | None:
    if embedder is None:
        return None
    dim = _dim(connection, embedder)
    ids = [prompt_id(text) for text in benchmark.texts]
    vectors = _stored(connection, ids, embedder, dim)
    without = np.flatnonzero(~vectors.any(axis=1))
    if embed is not None and len(without):
        vectors[without] = embed(embedder, [benchmark.texts[i] for i in without])
    return vectors


def _n_embedded(vectors: NDArray[np.float32] | None) -> int:
    return 0 if vectors is None else int(vectors.any(axis=1).sum())
