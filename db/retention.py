"""Which raw samples are kept, and forgetting the rest.

A sample is forgotten with all others of its target and prompt, or not at all: half of them would be a
gap in their numbering. Scores stay, for evaluations are rows of their own. What something rests on is
never forgotten:

- prompts that any run's target refused as often as the run's threshold, whatever gates said of them;
- both sides of boundary pairs; traces of refusal cliffs;
- prompts and responses that a person labelled;
- all that a run has used which is not finished: it may be resumed.

Knows the tables; is called by `db.upkeep.vacuum` alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    String,
    and_,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    table,
    text,
    union,
)

from db import summaries
from db.models import (
    BoundaryPair,
    Cliff,
    Disagreement,
    Evaluation,
    GateDecision,
    Run,
    Sample,
    Untraced,
    Verdict,
)
from db.safety import is_of_people
from workers.interface import ConfigError

_DAYS = re.compile(r"(\d+) days?")


@dataclass(frozen=True, slots=True)
class Keep:
    """`all`: everything. `over-refusals`: what the rest of this module lists. `N days`: everything for
    so long, then the same."""

    days: int | None  # None: for ever

    @classmethod
    def of(cls, said: str, place: str = "--retain") -> Keep:
        """
        >>> Keep.of("all"), Keep.of("over-refusals"), Keep.of("30 days")
        (Keep(days=None), Keep(days=0), Keep(days=30))

        Raises:
            ConfigError: it is none of the three forms.
        """
        if said in ("all", "over-refusals"):
            return cls(None if said == "all" else 0)
        if match := _DAYS.fullmatch(said):
            return cls(int(match[1]))
        raise ConfigError(f"{place} '{said}': write all, over-refusals or a time such as '30 days'")


def keep_of(config: Mapping[str, Any]) -> Keep:
    """What a run's stored config says; `all` where it says nothing."""
    return Keep.of(config.get("keep", {}).get("samples", "all"), "keep.samples")


_FORGETTABLE = table("forgettable_runs", column("run_id", String), column("before", DateTime))
_DOOMED = table("doomed_samples", column("target_id", String), column("prompt_id", String))


def forget(connection: Connection, now: datetime, every_run: Keep | None = None) -> int:
    """Delete what no rule keeps; how many samples.

    Args:
        every_run: instead of what the config of each run says.
    """
    finished = connection.execute(select(Run.run_id, Run.config).where(Run.status == "finished"))
    keeps = {run: every_run or keep_of(json.loads(config)) for run, config in finished}
    rows = [
        {"run_id": run, "before": now - timedelta(days=keep.days)}
        for run, keep in keeps.items()
        if keep.days is not None
    ]
    if not rows:
        return 0
    summaries.drop(connection, list(keeps))
    _make_tables(connection)
    connection.execute(insert(_FORGETTABLE), rows)
    connection.execute(insert(_DOOMED).from_select(["target_id", "prompt_id"], _doomed()))
    for child in (Disagreement, Untraced, Verdict):
        connection.execute(delete(child).where(_is_doomed(child)))
    forgotten = connection.execute(delete(Sample).where(_is_doomed(Sample))).rowcount
    for made in (_FORGETTABLE, _DOOMED):
        connection.execute(text(f"DROP TABLE {made.name}"))
    return forgotten


def _make_tables(connection: Connection) -> None:
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE forgettable_runs (run_id varchar(16) PRIMARY KEY, before timestamp)"
        )
    )
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE doomed_samples (target_id varchar(16), prompt_id varchar(32), "
            "PRIMARY KEY (target_id, prompt_id))"
        )
    )


def _is_doomed(child: Any) -> Any:
    return exists().where(
        _DOOMED.c.target_id == child.target_id, _DOOMED.c.prompt_id == child.prompt_id
    )


def _doomed() -> Any:
    """(target, prompt) all of whose samples are old enough in a run that lets go of them, and on whose
    prompt nothing rests."""
    old = and_(Sample.run_id == _FORGETTABLE.c.run_id, Sample.created_at <= _FORGETTABLE.c.before)
    return (
        select(Sample.target_id, Sample.prompt_id)
        .join(_FORGETTABLE, old, isouter=True)
        .where(Sample.prompt_id.not_in(_rested_on()))
        .group_by(Sample.target_id, Sample.prompt_id)
        .having(func.sum(case((_FORGETTABLE.c.run_id.is_(None), 1), else_=0)) == literal(0))
    )


def _rested_on() -> Any:
    return union(
        select(Evaluation.prompt_id)
        .join(Run, Run.run_id == Evaluation.run_id)
        .where(or_(Evaluation.refusal_rate >= Run.threshold, Run.status != "finished")),
        select(BoundaryPair.refused_prompt_id),
        select(BoundaryPair.answered_prompt_id),
        select(Cliff.prompt_id),
        select(GateDecision.prompt_id).where(is_of_people(GateDecision.gate)),
        select(Verdict.prompt_id).where(is_of_people(Verdict.judge)),
    )
