"""What a model is repaired with: over-refused prompts with the target's own responses, cut in two.

They come through the one door of exports; one lineage, and near-duplicates, stay on one side of the cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.exporters import plan
from db.exporters.eligible import Reads, select_eligible

if TYPE_CHECKING:
    from db.store import Store

SIDES = ("train", "held_out")


@dataclass(frozen=True, slots=True)
class OverRefused:
    """A prompt that may leave. `refusal`: what the target said that is surest a refusal; `answer`: what
    is surest none; `seed`: the text that the prompt descends from."""

    prompt_id: str
    prompt: str
    topic: str | None
    strategy: str
    seed: str
    refusal: str | None
    answer: str | None


def over_refused(
    store: Store, run: str, *, held_out: float, seed: int, min_refusal: float | None = None
) -> tuple[list[OverRefused], list[OverRefused]]:
    """The over-refusals of a run: those to train on, and those to measure with, best first.

    Args:
        held_out: the share to measure with, above 0 and below 1.

    Raises:
        ConfigError: no such run, nothing may leave, or it is all one lineage and cannot be cut.
    """
    shares = {SIDES[0]: 1.0 - held_out, SIDES[1]: held_out}
    with select_eligible(store, run=run, min_refusal=min_refusal) as selected:
        planned = plan.make(selected, shares, seed, None)
        sides: tuple[list[OverRefused], list[OverRefused]] = ([], [])
        place = 0
        for prompts in selected.batches({Reads.RESPONSES}):
            for each in prompts:
                assert planned.side is not None  # noqa: S101 - shares were given
                sides[int(planned.side[place])].append(
                    OverRefused(
                        each.prompt_id,
                        each.prompt,
                        each.topic,
                        each.strategy,
                        each.seed.text,
                        None if each.refusal is None else each.refusal.text,
                        None if each.answer is None else each.answer.text,
                    )
                )
                place += 1
        selected.require_some()
    return sides
