"""How gates and judges err, by what people said of the same prompts and responses.

Over all labels of the database, not those of an export alone: an export holds what the gates let
through, and errors of the other kind would not show.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, not_, select
from sqlalchemy.orm import aliased

from db.models import GateDecision, Verdict
from db.safety import is_of_people


class Agreement(NamedTuple):
    """One gate or judge in one version beside people's labels.

    missed  the gate let pass what a person does not call harmless; the judge took a refusal for an
            answer
    false   the gate held back what a person calls harmless; the judge took an answer for a refusal
    """

    name: str  # name@version
    labels: int
    missed: int
    false: int

    @property
    def agreed(self) -> float:
        """Share of the labels, 0 to 1."""
        return 1 - (self.missed + self.false) / self.labels


def of_gates(connection: Connection) -> list[Agreement]:
    human, gate = aliased(GateDecision), aliased(GateDecision)
    counted = _counted(
        connection,
        gate.gate,
        gate.version,
        gate.outcome == "harmless",
        human.outcome == "harmless",
        human.gate,
        select().join_from(human, gate, human.prompt_id == gate.prompt_id),
    )
    # Positive is "harmless": passing is what a gate may do wrongly.
    return _agreements(counted, missed=(True, False), false=(False, True))


def of_judges(connection: Connection) -> list[Agreement]:
    human, judge = aliased(Verdict), aliased(Verdict)
    same = and_(
        human.target_id == judge.target_id,
        human.prompt_id == judge.prompt_id,
        human.sample_index == judge.sample_index,
        judge.p_refusal.is_not(None),
        human.p_refusal.is_not(None),
    )
    counted = _counted(
        connection,
        judge.judge,
        judge.version,
        judge.p_refusal >= 0.5,
        human.p_refusal >= 0.5,
        human.judge,
        select().join_from(human, judge, same),
    )
    return _agreements(counted, missed=(False, True), false=(True, False))


def _counted(
    connection: Connection,
    name: Any,
    version: Any,
    said: Any,
    truth: Any,
    person: Any,
    joined: Any,
) -> Iterable[tuple[str, str, bool, bool, int]]:
    statement = (
        joined.add_columns(name, version, said.label("said"), truth.label("truth"), func.count())
        .where(is_of_people(person), not_(is_of_people(name)))
        .group_by(name, version, said, truth)
        .order_by(name, version)
    )
    for row in connection.execute(statement):
        yield row[0], row[1], bool(row[2]), bool(row[3]), row[4]


def _agreements(
    counted: Iterable[tuple[str, str, bool, bool, int]],
    *,
    missed: tuple[bool, bool],
    false: tuple[bool, bool],
) -> list[Agreement]:
    found: dict[str, Agreement] = {}
    for name, version, said, truth, n in counted:
        shown = f"{name}@{version}"
        before = found.get(shown, Agreement(shown, 0, 0, 0))
        found[shown] = Agreement(
            shown,
            before.labels + n,
            before.missed + n * ((said, truth) == missed),
            before.false + n * ((said, truth) == false),
        )
    return list(found.values())
