"""Benchmarks that an export is compared with: a file, or a source that the store has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, or_, select

from db import importers
from db.models import Prompt, PromptSource
from workers.interface import ConfigError


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Prompts that an export should not hold."""

    name: str
    texts: Sequence[str]


def find(connection: Connection, against: str) -> Benchmark:
    """The prompts of a file, or those that were imported from a source, or used as seeds from one, of
    this name (or `NAME-...`).

    Raises:
        ConfigError: neither is there; the file cannot be read.
    """
    stored = _stored(connection, against)
    if stored:
        return Benchmark(against, stored)
    path = Path(against)
    if not path.is_file():
        raise ConfigError(
            f"--against {against}: neither a source in this database nor a file; "
            "`evocliff import FILE` brings one in"
        )
    table, plan = importers.check(path, importers.Options())
    found = [
        plan.format.text(row.get(plan.cells.prompt)) for _, row in table.rows(plan.cells.names)
    ]
    texts = [text for text in found if isinstance(text, str) and text.strip()]
    if not texts:
        raise ConfigError(f"--against {against}: the file holds no prompt")
    return Benchmark(path.name, texts)


def _stored(connection: Connection, source: str) -> Sequence[str]:
    imported = select(PromptSource.prompt_id).where(
        or_(
            PromptSource.source == source,
            PromptSource.source.startswith(f"{source}-", autoescape=True),
        )
    )
    return connection.scalars(
        select(Prompt.text)
        .where(
            or_(
                Prompt.source == source,
                Prompt.source.startswith(f"{source}-", autoescape=True),
                Prompt.prompt_id.in_(imported),
            )
        )
        .order_by(Prompt.prompt_id)
    ).all()
