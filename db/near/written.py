"""Storing vectors so that they can be searched: the row, the name of its model, and the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from db.models import Embedding
from db.near import postgres
from db.rows import insert_new


def write_embeddings(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of `embeddings`, by one or several embedders; those that are there already stay."""
    insert_new(connection, Embedding, rows)
    by_embedder: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_embedder.setdefault(row["embedder"], []).append(row)
    for name, mine in by_embedder.items():
        number = _number(connection, name, mine[0]["dim"])
        if connection.dialect.name == "postgresql" and postgres.exists(connection):
            postgres.write(connection, number, mine)


def _number(connection: Connection, name: str, dim: int) -> int:
    chosen = text("SELECT number FROM embedders WHERE name = :name")
    number = connection.scalar(chosen, {"name": name})
    if number is None:
        new = text("INSERT INTO embedders (name, dim) VALUES (:name, :dim) ON CONFLICT DO NOTHING")
        connection.execute(new, {"name": name, "dim": dim})
        number = connection.scalar(chosen, {"name": name})
    return int(number or 0)
