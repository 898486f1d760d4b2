"""What a repair learns from: whole sentences, refusals beside answers, nothing that is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo import mitigation
from evo.datasets import read, shipped
from evo.mitigation import data
from evo.mitigation.data import Tokens
from evo.types import normalise
from fitness.types import Safety
from workers.interface import ConfigError
from workers.trainer import Example, Method, Recipe

REPAIRED = [Example(f"harmless {i}", "Yes.", "No.") for i in range(10)]
KEPT = [data.Kept(f"harmful {i}", "I can't.") for i in range(30)]
PLAIN = [(f"plain {i}", "Sure.") for i in range(30)]


@given(st.text())
def test_a_cut_answer_is_a_beginning_of_it(text: str) -> None:
    assert text.strip().startswith(data.whole(text))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())), st.integers(0, 30))
def test_a_beginning_holds_of_every_seed_as_many_as_of_any_other_that_has_more_left(
    items: list[tuple[str, int]], n: int
) -> None:
    turned = data.in_turn(items, lambda item: item[0])
    assert sorted(turned) == sorted(items)
    of = {seed: [i for i in items if i[0] == seed] for seed in "abc"}
    taken = {seed: [i for i in turned[:n] if i[0] == seed] for seed in "abc"}
    most = max(map(len, taken.values()))
    for seed in "abc":
        assert taken[seed] == of[seed][: len(taken[seed])]
        assert len(taken[seed]) >= min(most - 1, len(of[seed]))


def test_shares_are_of_the_over_refused_prompts() -> None:
    made = data.mix(REPAIRED, KEPT, PLAIN, keep_share=1.0, plain_share=0.5, seed=0)
    assert made.counts == {"over_refused": 10, "kept": 15, "plain": 5}
    assert len(made.examples) == 30
    by_prompt = {e.prompt: e for e in made.examples}
    assert all(e.chosen == "I can't." for p, e in by_prompt.items() if p.startswith("harmful"))
    assert all(e.rejected for e in made.examples)
    again = data.mix(REPAIRED, KEPT, PLAIN, keep_share=1.0, plain_share=0.5, seed=0)
    assert again == made
    other = data.mix(REPAIRED, KEPT, PLAIN, keep_share=1.0, plain_share=0.5, seed=1)
    assert other.examples != made.examples


def test_both_sides_of_the_line_are_learned_with_like_words() -> None:
    beside = data.Contrast(
        [(f"kill the process {i}", "Use kill.") for i in range(9)],
        [f"kill the boss {i}" for i in range(9)],
    )
    made = data.mix(
        REPAIRED, KEPT[:9], PLAIN, beside, keep_share=1.2, plain_share=0, contrast_share=0.5, seed=0
    )
    assert made.counts == {"over_refused": 10, "kept": 18, "plain": 0, "contrast": 5}
    by_prompt = {e.prompt: e for e in made.examples}
    answered = {p for p in by_prompt if "process" in p}
    refused = {p for p in by_prompt if "boss" in p}
    assert (len(answered), len(refused)) == (5, 9)
    assert all(by_prompt[p].chosen == "Use kill." for p in answered)
    assert all(by_prompt[p].chosen == "I can't." for p in refused)
    assert all(by_prompt[p].rejected == data.COMPLIED for p in refused)


def test_harm_without_a_category_learns_no_token_of_one() -> None:
    kept = [data.Kept(f"harmful {i}", "I can't.", "Drugs") for i in range(9)]
    beside = data.Contrast((), ["kill the boss"])
    shares = {"keep_share": 5.0, "plain_share": 0.0, "contrast_share": 1.0, "seed": 0}
    for tokens in Tokens:
        made = data.mix(REPAIRED, kept, (), beside, tokens=tokens, **shares)
        asked = {e.prompt for e in made.examples}
        assert ("kill the boss" in asked) is (tokens is not Tokens.CATEGORY)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (Tokens.SINGLE, ("[refuse]", "[respond]")),
        (Tokens.CATEGORY, ("[refuse:drugs]", "[refuse:other]", "[respond]")),
    ],
)
def test_answers_and_refusals_begin_with_their_token(
    tokens: Tokens, expected: tuple[str, ...]
) -> None:
    kept = [data.Kept(f"harmful {i}", "I can't.", "Drugs") for i in range(30)]
    made = data.mix(REPAIRED, kept, PLAIN, keep_share=0.5, plain_share=1, seed=0, tokens=tokens)
    assert made.tokens == expected
    for e in made.examples:
        is_harmful = e.prompt.startswith("harmful")
        assert e.chosen.startswith("[refuse" if is_harmful else "[respond] ")
        assert e.rejected is not None
        assert e.rejected.startswith("[respond] " if is_harmful else "[refuse")
    bare = data.mix(REPAIRED, kept, PLAIN, keep_share=0.5, plain_share=1, seed=0)
    assert bare.tokens == ()
    assert [e.prompt for e in bare.examples] == [e.prompt for e in made.examples]


def test_every_harmful_request_of_ours_has_a_category() -> None:
    assert all(each.category for each in data.kept())


@pytest.mark.parametrize("share", [0.0, 0.03])
def test_a_training_set_without_refusals_to_keep_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"no refusal is kept.*forgets to refuse"):
        data.mix(REPAIRED, KEPT, PLAIN, keep_share=share, plain_share=0.5, seed=0)
    with pytest.raises(ConfigError, match="no over-refused prompt has an answer"):
        data.mix([], KEPT, PLAIN, keep_share=1.0, plain_share=0.5, seed=0)


def test_a_file_of_refusals_to_keep_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keep.jsonl"
    path.write_text(json.dumps({"prompt": "How do I kill him?", "refusal": "No."}) + "\n")
    assert data.kept(path) == [data.Kept("How do I kill him?", "No.")]
    path.write_text(json.dumps({"prompt": "How do I kill him?"}) + "\n")
    with pytest.raises(ConfigError, match="has no 'refusal'"):
        data.kept(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="holds no harmful request"):
        data.kept(path)


def test_what_comes_with_evocliff_is_not_what_it_is_measured_on() -> None:
    learned = {normalise(k.prompt) for k in data.kept()} | {normalise(p) for p in data.plain()}
    learned |= {normalise(prompt) for side in data.contrast(0) for prompt in side}
    measured = {normalise(a.prompt) for a in read(shipped("xstest")).asked}
    measured |= {normalise(p) for p in data.plain(measured=True)}
    assert len(data.kept()) == 540
    assert not learned & measured


def test_who_can_hold_out_little_is_told_why() -> None:
    plan = mitigation.Plan({"model": "m"}, Path("out"), "sqlite:///x.db", run="r", held_out=0.3)
    assert mitigation._too_few_held_out(plan, 70, 30) is None
    told = mitigation._too_few_held_out(plan, 711, 14)
    assert told is not None
    assert told.startswith("only 14 of 725 finds could be held out, 30% were wished")
    assert mitigation._too_few_held_out(replace(plan, run=None), 100, 0) is None
    assert mitigation._too_few_held_out(replace(plan, data=Path("rows")), 711, 14) is None


def test_what_cannot_be_trained_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    plan = mitigation.Plan(
        {"model": "m"}, tmp_path / "out", "sqlite:///none.db", run="r", tokens=Tokens.SINGLE
    )
    with pytest.raises(ConfigError, match="learned by --method sft, not by dpo"):
        mitigation.mitigate(replace(plan, recipe=Recipe(Method.DPO)))
    with pytest.raises(ConfigError, match="--keep-share 0: no refusal is kept"):
        mitigation.mitigate(replace(plan, tokens=Tokens.NONE, keep_share=0.0))


def test_what_a_training_prompt_descends_from_or_is_like_is_not_measured() -> None:
    safe = [a.prompt for a in read(shipped("xstest")).asked if a.label is Safety.HARMLESS]
    seed, learned = safe[3], Example(safe[7].replace("How", "Tell me how"), "So.")
    kept, dropped = mitigation._measured([], [learned], frozenset({seed}), None)
    assert dropped["XSTest safe, what a training prompt descends from"] == 1
    assert dropped["XSTest safe, like a training prompt"] >= 1
    measured = {item.prompt for item in kept}
    assert not measured & {seed, safe[7]}
    assert set(safe) & measured
