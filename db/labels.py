"""Human labels. A person is a gate and a judge named `human:NAME`: a label of a prompt is a gate
decision, a label of a response is a verdict. So whatever reads decisions and verdicts reads labels.

In `db.found` people's decisions about a prompt go before those of all gates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select

from db import disagree, safety, summaries
from db import found as finding
from db.found import Found
from db.lookup import of_any_target
from db.models import GateDecision, Prompt, Sample, Verdict, utc_now
from db.rows import chunks, insert_new
from db.safety import HUMAN, is_of_people
from fitness.types import JudgedSample, Safety
from workers.interface import ConfigError

if TYPE_CHECKING:
    from db.store import Store

VERSION = "1"
REFUSAL, ANSWER = "refusal", "answer"
COLUMNS = ("annotator", "label", "prompt_id", "target_id", "sample_index", "prompt", "response")


@dataclass(frozen=True, slots=True)
class Label:
    """What one person said of a prompt (`target_id` None), or of one response to it.

    label  harmless, controversial or harmful; of a response: refusal or answer
    """

    annotator: str
    label: str
    prompt_id: str
    target_id: str | None = None
    sample_index: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{1,60}", self.annotator):
            raise ConfigError(
                f"annotator '{self.annotator}': use letters, digits, '.', '_' and '-', at most 60"
            )
        if (self.target_id is None) != (self.sample_index is None):
            raise ConfigError(
                "a response is named by target_id and sample_index, a prompt by neither"
            )
        known = [REFUSAL, ANSWER] if self.is_of_response else [s.value for s in Safety]
        if self.label not in known:
            raise ConfigError(f"label '{self.label}' is not one of {', '.join(known)}")

    @property
    def is_of_response(self) -> bool:
        return self.target_id is not None


@dataclass(frozen=True, slots=True)
class ToReview:
    """One prompt of a run, what was found, and its responses with all verdicts."""

    found: Found
    samples: tuple[JudgedSample, ...]


def to_review(store: Store, run: str) -> list[ToReview]:
    """The evaluated prompts of a run that are not seeds, the most refused first.

    Raises:
        ConfigError: no such run.
    """
    with store.reading() as connection:
        rows = finding.select_found(connection, run=run)
        rows = [f for f in finding.ordered(rows, "refusal") if not f.is_seed and f.score]
        samples = finding.judged_samples(connection, rows)
    return [ToReview(f, tuple(samples.get((f.target_id or "", f.prompt_id), ()))) for f in rows]


def put(store: Store, labels: Sequence[Label]) -> None:
    """Store labels in one transaction; a person's later label takes the place of the earlier one.

    Raises:
        ConfigError: a prompt or response that is not in the database; nothing is stored then.
    """
    with store.writing() as connection:
        _require_known(connection, labels)
        for label in labels:
            _take_back(connection, label)
            if label.is_of_response:
                insert_new(connection, Verdict, [_verdict_row(label)])
            else:
                insert_new(connection, GateDecision, [_decision_row(label)])
        _follow(connection, labels)


def take_back(store: Store, label: Label) -> None:
    """Remove what a person said of this prompt or response."""
    with store.writing() as connection:
        _take_back(connection, label)
        _follow(connection, [label])


def given(store: Store, run: str | None = None) -> list[dict[str, Any]]:
    """All labels as rows of `COLUMNS`, those of one run's prompts with `run`."""
    with store.reading() as connection:
        prompts = None
        if run is not None:
            prompts = {f.prompt_id for f in finding.select_found(connection, run=run)}
        rows = [*_prompt_labels(connection), *_response_labels(connection)]
    wanted = [r for r in rows if prompts is None or r["prompt_id"] in prompts]
    return sorted(
        wanted,
        key=lambda r: (
            r["prompt_id"],
            r["sample_index"] is not None,
            str(r["sample_index"]),
            r["annotator"],
        ),
    )


def by(store: Store, annotator: str) -> set[tuple[str, str | None, int | None]]:
    """(Prompt id, target id, index of the sample) of all that this person labelled; of prompts, without the
    last two."""
    who = HUMAN + annotator
    v = Verdict
    with store.reading() as connection:
        prompts = connection.scalars(
            select(GateDecision.prompt_id).where(
                is_of_people(GateDecision.gate), GateDecision.gate == who
            )
        )
        found: set[tuple[str, str | None, int | None]] = {(p, None, None) for p in prompts}
        rows = connection.execute(
            select(v.prompt_id, v.target_id, v.sample_index).where(
                is_of_people(v.judge), v.judge == who
            )
        )
        return found | {(r[0], r[1], r[2]) for r in rows}


def opinions(store: Store, run: str) -> dict[str, dict[tuple[Any, ...], str]]:
    """Who said what in a run: by name of gate, judge or person, the label of each thing. For a gate
    or judge of several versions, the last by name of the version."""
    said: dict[str, dict[tuple[Any, ...], str]] = {}
    for item in to_review(store, run):
        prompt = item.found.prompt_id
        for decision in item.found.gates:
            said.setdefault(decision.gate, {})[prompt,] = decision.outcome.value
        for judged in item.samples:
            for v in judged.verdicts:
                if v.p_refusal is not None:
                    label = REFUSAL if v.p_refusal >= 0.5 else ANSWER
                    key = (item.found.target_id, prompt, judged.sample.index)
                    said.setdefault(v.judge, {})[key] = label
    for row in given(store, run):
        if row["target_id"] is None:
            said.setdefault(HUMAN + row["annotator"], {})[row["prompt_id"],] = row["label"]
    return said


def _prompt_labels(connection: Connection) -> Iterator[dict[str, Any]]:
    rows = connection.execute(
        select(GateDecision.__table__, Prompt.text)
        .join(Prompt, Prompt.prompt_id == GateDecision.prompt_id)
        .where(is_of_people(GateDecision.gate))
    )
    for r in rows:
        values = (r.gate.removeprefix(HUMAN), r.outcome, r.prompt_id, None, None, r.text, None)
        yield dict(zip(COLUMNS, values, strict=True))


def _response_labels(connection: Connection) -> Iterator[dict[str, Any]]:
    rows = connection.execute(
        select(Verdict.__table__, Sample.text.label("response"), Prompt.text)
        .join(
            Sample,
            (Sample.target_id == Verdict.target_id)
            & (Sample.prompt_id == Verdict.prompt_id)
            & (Sample.sample_index == Verdict.sample_index),
        )
        .join(Prompt, Prompt.prompt_id == Verdict.prompt_id)
        .where(is_of_people(Verdict.judge))
    )
    for r in rows:
        label = REFUSAL if r.p_refusal >= 0.5 else ANSWER
        who = r.judge.removeprefix(HUMAN)
        values = (who, label, r.prompt_id, r.target_id, r.sample_index, r.text, r.response)
        yield dict(zip(COLUMNS, values, strict=True))


def _require_known(connection: Connection, labels: Sequence[Label]) -> None:
    prompts, samples = set(), set()
    for chunk in chunks(sorted({label.prompt_id for label in labels})):
        prompts |= set(
            connection.scalars(select(Prompt.prompt_id).where(Prompt.prompt_id.in_(chunk)))
        )
        samples |= {
            tuple(row)
            for row in connection.execute(
                select(Sample.target_id, Sample.prompt_id, Sample.sample_index).where(
                    of_any_target(Sample.target_id), Sample.prompt_id.in_(chunk)
                )
            )
        }
    for label in labels:
        key = (label.target_id, label.prompt_id, label.sample_index)
        if label.prompt_id not in prompts or (label.is_of_response and key not in samples):
            what = f"response {label.sample_index} to prompt" if label.is_of_response else "prompt"
            raise ConfigError(f"{what} '{label.prompt_id}' is not in this database")


def _take_back(connection: Connection, label: Label) -> None:
    who = HUMAN + label.annotator
    if label.is_of_response:
        connection.execute(
            delete(Verdict).where(
                Verdict.judge == who,
                Verdict.target_id == label.target_id,
                Verdict.prompt_id == label.prompt_id,
                Verdict.sample_index == label.sample_index,
            )
        )
    else:
        connection.execute(
            delete(GateDecision).where(
                GateDecision.gate == who, GateDecision.prompt_id == label.prompt_id
            )
        )


def _follow(connection: Connection, labels: Sequence[Label]) -> None:
    """Make right what follows from decisions and verdicts."""
    summaries.drop_of_prompts(connection, {label.prompt_id for label in labels})
    safety.refresh(connection, [label.prompt_id for label in labels if not label.is_of_response])
    said = [(x.target_id, x.prompt_id, x.sample_index) for x in labels]
    disagree.refresh(connection, [(t, p, i) for t, p, i in said if t is not None and i is not None])


def _verdict_row(label: Label) -> dict[str, Any]:
    return {
        "target_id": label.target_id,
        "prompt_id": label.prompt_id,
        "sample_index": label.sample_index,
        "judge": HUMAN + label.annotator,
        "version": VERSION,
        "p_refusal": float(label.label == REFUSAL),
        "unscored_reason": None,
        "response_class": None,
    }


def _decision_row(label: Label) -> dict[str, Any]:
    return {
        "prompt_id": label.prompt_id,
        "gate": HUMAN + label.annotator,
        "version": VERSION,
        "outcome": label.label,
        "p_harmful": None,
        "reason": f"labelled {utc_now():%Y-%m-%d}",
    }
