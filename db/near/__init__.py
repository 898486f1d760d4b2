"""Which stored prompts are nearest to a vector: `nearest`.

The rows are the truth, and every cosine is computed from them; what makes it quick differs: on SQLite
a file of signs beside the database (`db.near.sqlite`), on PostgreSQL pgvector (`db.near.postgres`).
Knows vectors; embeds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from db.connection import parse, shown_url
from db.models import Embedder
from db.near import exact, postgres, sqlite
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store


def nearest(
    store: Store, vector: NDArray[np.float32], embedder: str, k: int = 20
) -> list[tuple[str, float]]:
    """The k prompts nearest to a vector: (prompt id, cosine), the nearest first.

    Approximate where many are stored: at least 0.95 of the true ten nearest are among the ten, for a
    million vectors. Fewer than k only where fewer are stored.

    Args:
        vector: shape (dim,), of any length but 0.
        embedder: name of the model that made it, as the store spells it (`embedders`).

    Raises:
        ConfigError: nothing is embedded yet, or only by other models (they are named), or the vector
            has another size than theirs.
    """
    if k < 1:
        raise ConfigError(f"nearest: k is {k}; must be 1 or more")
    with store.reading() as connection:
        dim = _dim(connection, store, embedder)
        if np.shape(vector) != (dim,):
            raise ConfigError(
                f"nearest: a vector of shape {np.shape(vector)}, but those of '{embedder}' in "
                f"{shown_url(store.url)} have {dim} numbers"
            )
        asked = exact.Question(exact.unit(vector), embedder)
        if connection.dialect.name == "postgresql":
            return postgres.nearest(connection, asked, k)
        return sqlite.nearest(connection, database_file(store.url), asked, k)


def embedders(store: Store) -> dict[str, int]:
    """Name -> size of the vectors, of every model that stored prompts are embedded by; the first one
    first."""
    with store.reading() as connection:
        return _stored(connection)


def sole_embedder(store: Store, wanted: str | None = None) -> str:
    """The model that texts must be embedded by to be compared with the stored ones.

    Raises:
        ConfigError: `wanted` is not among those stored, there are several and none is wanted, or
            there is none.
    """
    stored = embedders(store)
    if wanted is None and len(stored) == 1:
        return next(iter(stored))
    with store.reading() as connection:
        if wanted is None and stored:
            raise ConfigError(
                f"{shown_url(store.url)}: prompts are embedded by {', '.join(stored)}; "
                "choose one with --embedder"
            )
        _dim(connection, store, wanted or "")
    return wanted or ""


def database_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for one in memory."""
    name = parse(url).database
    return Path(name) if name and name != ":memory:" else None


def _dim(connection: Connection, store: Store, embedder: str) -> int:
    stored = _stored(connection)
    if not stored:
        raise ConfigError(
            f"{shown_url(store.url)}: no prompt is embedded yet; a search with an `embedder` does it"
        )
    if embedder not in stored:
        raise ConfigError(
            f"embedder '{embedder}': the prompts of {shown_url(store.url)} are embedded by "
            f"{', '.join(stored)}; vectors of different models cannot be compared"
        )
    return stored[embedder]


def _stored(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(Embedder.name, Embedder.dim).order_by(Embedder.number))
    return {row.name: row.dim for row in rows}
