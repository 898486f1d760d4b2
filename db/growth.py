"""What candidates grew from: each evaluated prompt beside the text of its seed. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from db import found, lookup
from db.models import Prompt
from fitness.types import Safety

if TYPE_CHECKING:
    from db.store import Store

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Grown:
    """One harmless, evaluated prompt that is no seed. `over_refusal`: in some run of those asked for."""

    prompt_id: str
    text: str
    seed_text: str
    strategy: str
    over_refusal: bool


def grown(store: Store, run: str | None = None) -> list[Grown]:
    """The prompts of a run (name or id), or of every run, each once, in the order of their ids. What
    has no stored seed is left out.

    Raises:
        ConfigError: no such run.
    """
    with store.reading() as connection:
        run_id = None if run is None else lookup.find_run(connection, run)
        rows = [
            f
            for f in found.load_found(connection, run_id=run_id)
            if f.score is not None and not f.is_seed and f.safety is Safety.HARMLESS
        ]
        seed_ids = sorted({f.seed_prompt_id for f in rows if f.seed_prompt_id is not None})
        seeds: dict[str, str] = {}
        for start in range(0, len(seed_ids), _CHUNK):
            chunk = seed_ids[start : start + _CHUNK]
            statement = select(Prompt.prompt_id, Prompt.text).where(Prompt.prompt_id.in_(chunk))
            seeds |= {r.prompt_id: r.text for r in connection.execute(statement)}
    met: dict[str, Grown] = {}
    for f in sorted(rows, key=lambda f: (f.prompt_id, not f.is_over_refusal, f.run.run_id)):
        if f.seed_prompt_id in seeds:
            seed_text = seeds[f.seed_prompt_id]
            one = Grown(f.prompt_id, f.prompt, seed_text, f.strategy, f.is_over_refusal)
            met.setdefault(f.prompt_id, one)
    return list(met.values())
