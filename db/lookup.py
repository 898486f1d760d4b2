"""What people call things, turned into ids; and the checks of what they ask for.

Each failure is a ConfigError that says what was meant instead, or what is known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from db.models import Prompt, Run, Target
from evo.types import FAMILIES, TACTIC, Strategy
from workers.interface import ConfigError

SORTS = ("fitness", "refusal", "novelty")
QUERY_SORTS = (*SORTS, "cliff", "inverse-cliff")


def find_run(connection: Connection, run: str) -> str:
    require_text("run", run)
    known = connection.execute(select(Run.name, Run.run_id).order_by(Run.started_at)).all()
    for row in known:
        if run == row.name:
            return str(row.run_id)
    begins: list[str] = [row.run_id for row in known if run and row.run_id.startswith(run.lower())]
    if run.lower() in begins:
        return run.lower()
    if len(begins) == 1:
        return begins[0]
    shown = connection.engine.url.database
    if begins:
        raise ConfigError(f"run '{run}': {len(begins)} ids in {shown} begin so; give more of it")
    near = difflib.get_close_matches(run, [row.name for row in known], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "see `evocliff runs`"
    raise ConfigError(f"run '{run}' is not in {shown}; {hint}")


def find_targets(connection: Connection, target: str, option: str = "--target") -> list[str]:
    """Target ids by model, or by the beginning of one id."""
    known = connection.execute(
        select(Target.target_id, Target.model).order_by(Target.target_id)
    ).all()
    by_model = [row.target_id for row in known if row.model == target]
    begins = [row.target_id for row in known if target and row.target_id.startswith(target)]
    found = by_model or begins
    if not found:
        models = sorted({row.model for row in known})
        near = difflib.get_close_matches(target, models, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(models) or 'none'}"
        raise ConfigError(f"{option} {target}: no run has asked this model; {hint}")
    if not by_model and len(begins) > 1:
        raise ConfigError(f"{option} {target}: {len(begins)} target ids begin so; give more of it")
    return found


def of_any_target(column: Any) -> ColumnElement[bool]:
    """True of every row. Keys begin with the target, so a statement that asks for a prompt alone reads the
    whole table; with this it looks once for each target."""
    found: ColumnElement[bool] = column.in_(select(Target.target_id))
    return found


def require_apart(
    refused_by: Sequence[str],
    refused: Sequence[Sequence[str]],
    answered: Sequence[Sequence[str]],
) -> None:
    """Raise ConfigError where the same target is to refuse a prompt and to answer it."""
    both = {target for each in answered for target in each}
    for name, targets in zip(refused_by, refused, strict=True):
        if both.issuperset(targets):
            raise ConfigError(
                f"--refused-by {name} and --answered-by name the same target; name another"
            )


def strategies(strategy: str) -> list[str]:
    if strategy in FAMILIES:
        return [s.value for s in FAMILIES[strategy]]
    if TACTIC.fullmatch(strategy):
        return [strategy]
    require_known("--strategy", strategy, [s.value for s in Strategy] + list(FAMILIES))
    return [strategy]


def find_prompt(connection: Connection, prompt: str) -> str:
    begins: list[str] = []
    if re.fullmatch("[0-9a-f]+", prompt.lower()):  # ids are hexadecimal: a range of the index
        between = (Prompt.prompt_id >= prompt.lower(), Prompt.prompt_id < prompt.lower() + "g")
        ids = select(Prompt.prompt_id).where(*between).order_by(Prompt.prompt_id)
        begins = list(connection.scalars(ids.limit(3)))
    if len(begins) == 1:
        return begins[0]
    if not begins:
        raise ConfigError(f"prompt '{prompt}': no id begins so; `evocliff query` shows the ids")
    raise ConfigError(
        f"prompt '{prompt}': several ids begin so ({', '.join(begins)}); give more of it"
    )


def require_order(sort: str, limit: int | None, sorts: Sequence[str] = SORTS) -> None:
    """Raise ConfigError unless rows can be put in this order and cut to this number."""
    if sort not in sorts:
        raise ConfigError(f"--sort {sort}: not one of {', '.join(sorts)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: must be 1 or more")


def require_rate(min_refusal: float) -> None:
    """Raise ConfigError unless this is a refusal rate."""
    if not 0.0 <= min_refusal <= 1.0:
        raise ConfigError(f"--min-refusal {min_refusal}: must be between 0 and 1")


def require_known(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(known)}"
        raise ConfigError(f"{option} {value}: unknown; {hint}")


def require_text(option: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{option}: {value!a} is not UTF-8 text") from None
