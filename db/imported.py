"""What was imported from where: the sources of a store, and their prompts as seeds."""

from __future__ import annotations

import difflib
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased

from db.connection import shown_url
from db.models import Prompt, PromptSource
from db.store import Store
from evo.types import Seed
from workers.interface import ConfigError

# What datasets call prompts that may rightly be refused, in lower case. No seed is made of them.
NOT_HARMLESS = ("unsafe", "harmful", "toxic", "controversial")


def sources(store: Store) -> list[dict[str, Any]]:
    """The imported sources by name, with the number of their rows and of their prompts."""
    with store.reading() as connection:
        rows = connection.execute(
            select(
                PromptSource.source,
                func.count().label("rows"),
                func.count(PromptSource.prompt_id.distinct()).label("prompts"),
            )
            .group_by(PromptSource.source)
            .order_by(PromptSource.source)
        )
        return [dict(row._mapping) for row in rows]


def seeds(store: Store, source: str) -> list[Seed]:
    """The prompts of a source as seeds, without those that it, or another source, labels unsafe,
    harmful, toxic or controversial. In order of their ids.

    Raises:
        ConfigError: nothing was imported from there, or nothing is left of it.
    """
    other = aliased(PromptSource)
    unfit = exists().where(
        other.prompt_id == Prompt.prompt_id, func.lower(other.label).in_(NOT_HARMLESS)
    )
    with store.reading() as connection:
        rows = connection.execute(
            select(Prompt.prompt_id, Prompt.text, PromptSource.licence, PromptSource.category)
            .join(PromptSource, PromptSource.prompt_id == Prompt.prompt_id)
            .where(PromptSource.source == source, ~unfit)
            .order_by(Prompt.prompt_id, PromptSource.row_key)
        ).all()
    found: dict[str, Seed] = {}
    for row in rows:
        found.setdefault(row.prompt_id, Seed(row.text, source, row.licence, row.category))
    if found:
        return list(found.values())
    known = [row["source"] for row in sources(store)]
    if source in known:
        raise ConfigError(
            f"seeds.store: every prompt of '{source}' is labelled {', '.join(NOT_HARMLESS[:-1])} or "
            f"{NOT_HARMLESS[-1]}; seeds must be harmless"
        )
    near = difflib.get_close_matches(source, known, n=1)
    hint = (
        f"did you mean '{near[0]}'?" if near else f"imported: {', '.join(known) or 'nothing yet'}"
    )
    raise ConfigError(
        f"seeds.store: nothing was imported from '{source}' into {shown_url(store.url)}; {hint}"
    )
