"""What a query asks for, as conditions on the rows of `evaluations`. Runs nothing but look-ups of names.

Every condition is one on `E`, the evaluation, with `P`, its proposal, and `T`, its prompt, beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.orm import aliased

from db import like, lookup
from db.models import (
    BoundaryPair,
    Cliff,
    Disagreement,
    Evaluation,
    Prompt,
    Proposal,
    Run,
    Signature,
    Target,
)
from fitness.types import CliffKind, Safety
from fitness.types import Signature as SignatureValue

E = aliased(Evaluation)
P = aliased(Proposal)
T = aliased(Prompt)
R = aliased(Run)
M = aliased(Target)
# As the index of these says it, or it would not be used.
NOT_HARMLESS: ColumnElement[bool] = P.safety != literal_column("'harmless'")
# Traces without either are no kind to ask for.
KINDS = (CliffKind.CLIFF.value, CliffKind.INVERSE.value)
_FIRST = aliased(Prompt)
# As the proposal has it; the spelling that came first is looked up only where it has none.
SPELLING: ColumnElement[str] = func.coalesce(
    P.text,
    select(_FIRST.text).where(_FIRST.prompt_id == P.prompt_id).correlate(P).scalar_subquery(),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for; the words are those of `evocliff query`. None: not asked.

    run, target   name or id of a run; model, or beginning of a target id
    strategy      one, or a family
    min_refusal   refusal rate of at least this, 0 to 1
    safety        harmless, controversial or harmful
    like          text that the prompt contains, whatever the case of its (ASCII) letters
    boundary      refused sides of boundary pairs alone
    disagree      prompts on a response to which judges differ
    kind          cliff or inverse: prompts of whose samples one was traced as such, by some probe
    signature     over_refused, rightly_refused, rightly_answered or suppressed, by some guard
    refused_by, answered_by   targets that refuse the prompt, each of them, and that answer it, each
                  by the threshold of the run that asked; the rows are those of the refusing targets,
                  where none is named those of the answering ones
    """

    run: str | None = None
    target: str | None = None
    strategy: str | None = None
    min_refusal: float | None = None
    safety: str | None = None
    like: str | None = None
    boundary: bool = False
    disagree: bool = False
    kind: str | None = None
    signature: str | None = None
    refused_by: tuple[str, ...] = ()
    answered_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """The same in the words of the record: names are ids, and all of it is known to be sound."""

    run_id: str | None
    target_ids: tuple[str, ...] | None
    strategies: tuple[str, ...] | None
    min_refusal: float | None
    safety: str | None
    like: str | None
    boundary: bool
    disagree: bool
    kind: str | None
    signature: str | None
    refused_by: tuple[tuple[str, ...], ...]
    answered_by: tuple[tuple[str, ...], ...]

    @property
    def turned_away(self) -> bool:
        """Whether prompts that were never sampled can be meant."""
        asks_of_samples = self.min_refusal is not None or self.boundary or self.disagree
        asks_of_samples = asks_of_samples or self.kind is not None or self.signature is not None
        transfer = self.refused_by or self.answered_by
        return self.safety not in (None, Safety.HARMLESS.value) and not (
            asks_of_samples or transfer
        )


def resolve(connection: Connection, asked: Asked) -> Filters:
    """Raises ConfigError, naming what is known, for anything that is not there or out of range."""
    for option, value in (("run", asked.run), ("target", asked.target), ("like", asked.like)):
        if value is not None:
            lookup.require_text(f"--{option}", value)
    if asked.min_refusal is not None:
        lookup.require_rate(asked.min_refusal)
    if asked.safety is not None:
        lookup.require_known("--safety", asked.safety, [s.value for s in Safety])
    if asked.kind is not None:
        lookup.require_known("--kind", asked.kind, KINDS)
    if asked.signature is not None:
        lookup.require_known("--signature", asked.signature, [s.value for s in SignatureValue])
    refused = _targets(connection, "--refused-by", asked.refused_by)
    answered = _targets(connection, "--answered-by", asked.answered_by)
    lookup.require_apart(asked.refused_by, refused, answered)
    targets = None if asked.target is None else tuple(lookup.find_targets(connection, asked.target))
    if targets is None and (refused or answered):
        targets = tuple(dict.fromkeys(t for each in refused or answered for t in each))
    return Filters(
        run_id=None if asked.run is None else lookup.find_run(connection, asked.run),
        target_ids=targets,
        strategies=None if asked.strategy is None else tuple(lookup.strategies(asked.strategy)),
        min_refusal=asked.min_refusal,
        safety=asked.safety,
        like=asked.like,
        boundary=asked.boundary,
        disagree=asked.disagree,
        kind=asked.kind,
        signature=asked.signature,
        refused_by=refused,
        answered_by=answered,
    )


def _targets(
    connection: Connection, option: str, names: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    for name in names:
        lookup.require_text(option, name)
    return tuple(tuple(lookup.find_targets(connection, name, option)) for name in names)


def conditions(dialect: str, asked: Filters) -> list[ColumnElement[bool]]:
    """What a row must fulfil."""
    found: list[ColumnElement[bool]] = [E.is_superseded.is_(False)]
    if asked.run_id is not None:
        found.append(E.run_id == asked.run_id)
    if asked.target_ids is not None:
        found.append(E.target_id.in_(asked.target_ids))
    if asked.strategies is not None:
        found.append(E.strategy.in_(asked.strategies))
    if asked.min_refusal is not None:
        found.append(E.refusal_rate >= asked.min_refusal)
    if asked.safety is not None:
        found.append(E.safety == asked.safety)
    if asked.like is not None:
        found.append(like.contains(dialect, SPELLING, asked.like))
    if asked.disagree:
        found.append(_differ())
    if asked.boundary:
        pair = (
            BoundaryPair.target_id == E.target_id,
            BoundaryPair.refused_prompt_id == E.prompt_id,
        )
        found.append(exists().where(*pair))
    if asked.kind is not None:
        of_it = (Cliff.target_id == E.target_id, Cliff.prompt_id == E.prompt_id)
        found.append(exists().where(*of_it, Cliff.kind == asked.kind))
    if asked.signature is not None:
        of_it = (Signature.target_id == E.target_id, Signature.prompt_id == E.prompt_id)
        found.append(exists().where(*of_it, Signature.signature == asked.signature))
    # What is answered first: the row itself is one that is refused, as a rule.
    found += [_on_another(each, refused=False) for each in asked.answered_by]
    found += [_on_another(each, refused=True) for each in asked.refused_by]
    return found


def _differ() -> ColumnElement[bool]:
    """Judges differ on one of the samples that the evaluation rests on."""
    return exists().where(
        Disagreement.target_id == E.target_id,
        Disagreement.prompt_id == E.prompt_id,
        Disagreement.sample_index < E.n_samples,
    )


def _on_another(target_ids: Sequence[str], *, refused: bool) -> ColumnElement[bool]:
    """The prompt was refused (or answered) by one of these targets, which bear one name."""
    other, run = aliased(Evaluation), aliased(Run)
    threshold = select(run.threshold).where(run.run_id == other.run_id).scalar_subquery()
    side = other.refusal_rate >= threshold if refused else other.refusal_rate < threshold
    found: Select[Any] = (
        select(literal_column("1"))
        .select_from(other)
        .with_hint(other, "INDEXED BY ix_evaluations_prompt_id_target_id", "sqlite")
        .where(
            other.prompt_id == E.prompt_id,
            other.target_id.in_(target_ids),
            other.is_superseded.is_(False),
            side,
        )
    )
    return found.exists()


def turned_away(dialect: str, asked: Filters) -> ColumnElement[bool]:
    """What a proposal must fulfil that a gate turned away; its target is that of its run."""
    found: list[Any] = [
        P.safety == asked.safety,
        NOT_HARMLESS,
        P.status == "failed",
    ]
    if asked.run_id is not None:
        found.append(P.run_id == asked.run_id)
    if asked.target_ids is not None:
        found.append(R.target_id.in_(asked.target_ids))
    if asked.strategies is not None:
        found.append(P.strategy.in_(asked.strategies))
    if asked.like is not None:
        found.append(like.contains(dialect, SPELLING, asked.like))
    return and_(*found)
