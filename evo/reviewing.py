"""What is left to label in a run for one person: prompts, the most refused first, and responses to them.

An edge over the store, for the web page; the keys are those of `evocliff review` too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db import labels
from db.about_prompt import AboutPrompt, about_prompt
from db.filters import Asked
from db.labels import Label
from db.query import Query

if TYPE_CHECKING:
    from db.store import Store

PROMPT_KEYS = {"h": "harmless", "c": "controversial", "x": "harmful"}
RESPONSE_KEYS = {"r": "refusal", "a": "answer"}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to label: a prompt, or one response to it (`sample`)."""

    about: AboutPrompt
    strategy: str
    refusal_rate: float | None
    sample: Mapping[str, Any] | None = None

    @property
    def keys(self) -> dict[str, str]:
        """Key -> label."""
        return PROMPT_KEYS if self.sample is None else RESPONSE_KEYS

    def label(self, annotator: str, said: str) -> Label:
        """
        Raises:
            ConfigError: no name for an annotator.
        """
        if self.sample is None:
            return Label(annotator, said, self.about.prompt_id)
        return Label(
            annotator,
            said,
            self.about.prompt_id,
            self.sample["target_id"],
            self.sample["sample_index"],
        )


def left(store: Store, run: str, annotator: str, responses: int) -> Iterator[Step]:
    """What this person has not labelled, one at a time: nothing further is read than is asked for.

    Args:
        responses: of each prompt, to label too.

    Raises:
        ConfigError: no such run.
    """
    given = labels.by(store, annotator)
    for row in Query(store, Asked(run=run)).sorted("refusal").iterate():
        if row["strategy"] == "seed" or row["refusal_rate"] is None:
            continue
        prompt_id = row["prompt_id"]
        known = [n for n in range(responses) if (prompt_id, row["target"], n) in given]
        if (prompt_id, None, None) in given and len(known) == responses:
            continue
        about = about_prompt(store, prompt_id)
        step = Step(about, row["strategy"], row["refusal_rate"])
        if (prompt_id, None, None) not in given:
            yield step
        own = [s for s in about.samples if s["target_id"] == row["target"]]
        for sample in own[:responses]:
            if (prompt_id, sample["target_id"], sample["sample_index"]) not in given:
                yield Step(about, step.strategy, step.refusal_rate, sample)
