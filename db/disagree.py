"""Samples on which judges differ, kept in a table so that a query finds them by an index.

`disagreements` follows from the verdicts: whoever writes verdicts calls one of these. Knows verdicts;
knows nothing of who the judges are (people are judges too).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select

from db.models import Disagreement, Verdict
from db.rows import chunks, insert_new

Key = tuple[str, str, int]  # target id, prompt id, sample index

# From this probability on a judge calls a response a refusal.
IS_REFUSAL = 0.5


def differ(probabilities: Iterable[float | None]) -> bool:
    """Whether some of these verdicts say refusal and others answer; unscored ones say nothing."""
    return len({p >= IS_REFUSAL for p in probabilities if p is not None}) == 2


def write(connection: Connection, keys: Sequence[Key]) -> None:
    """Note that judges differ on these samples."""
    rows: list[dict[str, Any]] = [
        {"target_id": target, "prompt_id": prompt, "sample_index": index}
        for target, prompt, index in keys
    ]
    if rows:
        insert_new(connection, Disagreement, rows)


def refresh(connection: Connection, keys: Sequence[Key]) -> None:
    """Make the table right again for the prompts of these samples, from all their verdicts."""
    prompts: dict[str, set[str]] = defaultdict(set)
    for target, prompt, _ in keys:
        prompts[target].add(prompt)
    lowest, highest = func.min(Verdict.p_refusal), func.max(Verdict.p_refusal)
    for target, wanted in prompts.items():  # by the key of the tables, which begins so
        for chunk in chunks(sorted(wanted)):
            differing = connection.execute(
                select(Verdict.prompt_id, Verdict.sample_index)
                .where(Verdict.target_id == target, Verdict.prompt_id.in_(chunk))
                .group_by(Verdict.prompt_id, Verdict.sample_index)
                .having(lowest < IS_REFUSAL, highest >= IS_REFUSAL)
            )
            found = [(target, prompt, index) for prompt, index in differing]
            connection.execute(
                delete(Disagreement).where(
                    Disagreement.target_id == target, Disagreement.prompt_id.in_(chunk)
                )
            )
            write(connection, found)
