"""Probes, traces, heads and selections over a white box, the file and the store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import traces
from db.query import Query
from db.store import Store
from evo import cliff_selection, cliffs
from evo.cliffs import Columns, Item
from fitness.cliff.heads import Head
from fitness.cliff.probe import Probe
from fitness.judges.prefix import PrefixJudge
from fitness.types import CliffKind, CliffTrace, NoTrace
from tests.db.builders import RunBuilder, opened
from tests.fake_white_box import ANSWER, REFUSAL, FakeWhiteBox
from workers.interface import ConfigError, StoredResponse

TOPICS = ("cars", "food", "money", "travel")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with opened(tmp_path) as made:
        yield made


def items(n: int = 3) -> list[Item]:
    """Of each topic: harmful ones that are refused or answered, harmless ones answered or refused."""
    ways = (("bomb", True), ("bomb anyway", True), ("cake", False), ("cake please!", False))
    return [
        Item(f"{topic} {way} {i}", topic=topic, harmful=harmful)
        for topic in TOPICS
        for way, harmful in ways
        for i in range(n)
    ]


def answered(some: list[Item], box: FakeWhiteBox) -> list[Item]:
    kept, _ = asyncio.run(cliffs.answered(some, box, PrefixJudge(), max_tokens=20))
    return kept


@pytest.fixture
def box() -> FakeWhiteBox:
    return FakeWhiteBox()


@pytest.fixture
def probe(box: FakeWhiteBox) -> Probe:
    made, _ = asyncio.run(cliffs.train_probe(answered(items(), box), box))
    return made


def thought(text: str, reasoning: str | None = "I must refuse this .") -> Item:
    return Item("p", StoredResponse(reasoning, text))


def trace(box: FakeWhiteBox, probe: Probe, *some: Item) -> list[CliffTrace | NoTrace]:
    return asyncio.run(cliffs.traced(some, box, probe))


def test_the_layer_that_tells_refusals_is_chosen(probe: Probe) -> None:
    assert probe.about.layer == 2
    assert next(q for q in probe.layers if q.layer == 2).held_out == 1.0


def test_items_that_cannot_be_answered_or_read_are_counted_and_left_out(box: FakeWhiteBox) -> None:
    some = [Item("overlong", topic="t", harmful=False), *items()]
    kept, without = asyncio.run(cliffs.answered(some, box, PrefixJudge(), max_tokens=20))
    assert (len(kept), without) == (len(items()), {"overlong": 1})
    kept.append(Item("q", StoredResponse(None, ANSWER), "cars", True, refused=False))
    _, unread = asyncio.run(cliffs.train_probe(kept, box))
    assert unread == {"no thought": 1}


def test_what_was_labelled_is_not_asked_again(box: FakeWhiteBox) -> None:
    known = Item("bomb", StoredResponse("x", ANSWER), refused=True)
    assert answered([known], box) == [known]
    assert box.asked == 0


@pytest.mark.parametrize(
    ("text", "reasoning", "kind"),
    [
        (ANSWER, "I must refuse this .", CliffKind.CLIFF),
        (REFUSAL, "This is fine to do .", CliffKind.INVERSE),
        (REFUSAL, "I must refuse this .", CliffKind.NONE),
    ],
)
def test_a_course_becomes_a_trace_with_its_place(
    box: FakeWhiteBox, probe: Probe, text: str, reasoning: str, kind: CliffKind
) -> None:
    (found,) = trace(box, probe, thought(text, reasoning))
    assert isinstance(found, CliffTrace)
    assert found.kind is kind
    words = len(reasoning.split())
    assert found.position == (None if kind is CliffKind.NONE else words)
    assert (found.n_tokens, len(found.scores) // 4) == (words, words + 2)


def test_no_thought_and_a_cut_one_are_no_trace_with_their_reason(
    box: FakeWhiteBox, probe: Probe
) -> None:
    found = trace(box, probe, thought(ANSWER, None), thought("", "cut"))
    assert [f.reason for f in found if isinstance(f, NoTrace)] == ["no thought", "thought cut"]


def test_a_probe_of_another_model_is_refused(probe: Probe) -> None:
    with pytest.raises(ConfigError, match="was trained on tiny-model"):
        trace(FakeWhiteBox("rev2"), probe, thought(ANSWER))


def test_a_run_is_traced_once_and_can_be_sorted_by_its_cliffs(
    store: Store, box: FakeWhiteBox, probe: Probe, tmp_path: Path
) -> None:
    run = RunBuilder(store, "thinkers")
    seed = run.seed("a seed")
    run.evaluated("another", (seed,))
    url = f"sqlite:///{tmp_path}/test.db"
    first = asyncio.run(cliffs.trace_run(url, "thinkers", box, probe))
    # The samples of the builder have no thought: none is a number, each is counted.
    assert first["no trace"] == 6
    assert traces.no_traces(store, "thinkers") == {"no thought": 6}
    before = box.projected
    again = asyncio.run(cliffs.trace_run(url, "thinkers", box, probe))
    assert box.projected == before
    assert "no trace" not in again
    assert Query(store).where(run="thinkers").sorted("cliff").rows()


def test_samples_of_another_target_are_counted_and_not_traced(
    store: Store, box: FakeWhiteBox, tmp_path: Path
) -> None:
    RunBuilder(store, "other").seed("a seed")
    elsewhere = FakeWhiteBox("rev2")
    made, _ = asyncio.run(cliffs.train_probe(answered(items(), elsewhere), elsewhere))
    url = f"sqlite:///{tmp_path}/test.db"
    counts = asyncio.run(cliffs.trace_run(url, "other", elsewhere, made))
    assert counts["of another target"] == 3
    assert traces.no_traces(store, "other") == {}


def test_the_strongest_heads_are_found_and_taken_out(box: FakeWhiteBox, probe: Probe) -> None:
    some = answered(items(1), box)
    found, without = asyncio.run(cliffs.heads_of(some, box, probe))
    assert not without
    strongest = found.suppressing(1)
    assert [(h.layer, h.head) for h in strongest] == [(0, 1)]

    def effect(heads: list[Head]) -> cliffs.Effect:
        return asyncio.run(
            cliffs.effect_of(heads, some, ["a b c"], box, PrefixJudge(), max_tokens=20)
        )

    assert (effect([]).refusal, effect([]).over_refusal) == (0.5, 0.5)
    assert effect(strongest).refusal == 1.0
    assert effect([]).perplexity == pytest.approx(7.389, abs=1e-3)


def test_the_largest_misalignments_are_selected_with_their_own_columns(
    box: FakeWhiteBox, probe: Probe, tmp_path: Path
) -> None:
    file = tmp_path / "training.jsonl"
    prompts = ["cake", "bomb anyway", "bomb", "cake please!"]
    file.write_text(
        "".join(json.dumps({"prompt": p, "mine": n}) + "\n" for n, p in enumerate(prompts))
    )
    ready = answered(cliffs.items_of(file, Columns()), box)
    found = trace(box, probe, *ready)
    chosen = cliff_selection.of_items(ready, found, 0.25)
    assert [row["mine"] for row in chosen.rows] == [1]
    assert chosen.of == 4
    out = tmp_path / "out"
    cliff_selection.write(chosen, out, fraction=0.25, inverse=False, source=file.name)
    (row,) = map(json.loads, (out / cliff_selection.FILE).read_text().splitlines())
    assert row["prompt"] == "bomb anyway"
    assert row["kind"] == "cliff"
    with pytest.raises(ConfigError, match="exists already"):
        cliff_selection.write(chosen, out, fraction=0.25, inverse=False, source=file.name)


def test_only_what_is_known_to_be_harmless_is_selected_by_inverse_cliffs(
    box: FakeWhiteBox, probe: Probe, tmp_path: Path
) -> None:
    some = [Item("cake please!", harmful=False), Item("cake please!"), Item("bomb", harmful=True)]
    ready = answered(some, box)
    chosen = cliff_selection.of_items(ready, trace(box, probe, *ready), 1.0, inverse=True)
    assert len(chosen.rows) == 1
    none = cliff_selection.of_items(ready[2:], trace(box, probe, ready[2]), 1.0, inverse=True)
    with pytest.raises(ConfigError, match="none has a score that rises"):
        cliff_selection.write(none, tmp_path / "o", fraction=1.0, inverse=True, source="x")


def test_a_label_that_is_neither_true_nor_false_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "p", "harmful": "perhaps"}\n')
    with pytest.raises(ConfigError, match=r"bad\.jsonl:1: 'harmful' is 'perhaps'"):
        cliffs.items_of(file, Columns())


def test_what_nobody_called_harmful_or_harmless_is_not_trained_on(box: FakeWhiteBox) -> None:
    told = answered(items(), box)
    untold = [replace(i, harmful=None) for i in told]
    _, without = asyncio.run(cliffs.train_probe([*told, *untold], box))
    assert without == {"nobody said whether it is harmful": len(untold)}
    with pytest.raises(ConfigError, match="no item can be trained on"):
        asyncio.run(cliffs.train_probe(untold, box))


def test_of_a_run_each_prompt_is_selected_once_by_one_probe(store: Store) -> None:
    run = RunBuilder(store, "thinkers")
    seed = run.seed("a seed", refusals=(0.1, 0.1))
    made = [run.evaluated(text, (seed,)) for text in ("first", "second")]

    def rises(version: str, by: float) -> CliffTrace:
        scores = np.array([0.1, 0.1, 0.1 + by], dtype="<f4").tobytes()
        return CliffTrace("p", version, scores, 2, 0.1, 0.1, 0.1 + by, CliffKind.INVERSE, 2)

    for version in ("v1", "v2"):
        keys = [(run.target_id, m.prompt_id, i) for m in made for i in range(3)]
        traces.record(store, [(key, rises(version, 0.3 + 0.2 * key[2])) for key in keys])
    with pytest.raises(ConfigError, match=r"was traced by 2 probes \(v1, v2\)"):
        cliff_selection.of_run(store, "thinkers", 1.0, inverse=True)
    chosen = cliff_selection.of_run(store, "thinkers", 1.0, inverse=True, version="v2")
    assert {(row["instruction"], row["sample_index"], row["version"]) for row in chosen.rows} == {
        ("first", 2, "v2"),
        ("second", 2, "v2"),
    }
    assert chosen.of == 2
