"""The search for the smallest edit, on a scripted target that refuses by trigger words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from evo.boundary import Answer, BoundarySearch, Limits, Pair, Rate, Source, Text
from evo.edits import apply, words
from evo.types import prompt_id
from fitness.elbo import wilson

LIMITS = Limits(first=4, most=10, threshold=0.5, target_tokens=100_000, sample_tokens=5)
PLAIN = ["how", "do", "i", "open", "a", "jar", "near", "the", "old", "mill,", "please", "now"]


def bare(text: str) -> list[str]:
    return [word.strip(",.?!").casefold() for word in words(text)]


class Script:
    """A target: refusal rate by text. Tokens: 5 a sample. Counts what it was asked."""

    def __init__(self, rate_of: Callable[[str], float | None], before: int = 0) -> None:
        self.rate_of, self.before = rate_of, before
        self.asked: list[tuple[str, int]] = []
        self.answers: dict[str, float | None] = {}

    def answer(self, search: BoundarySearch, text: str, n: int, identity: str) -> Answer:
        self.asked.append((text, n))
        rate = self.answers[text] = self.rate_of(text)
        new = max(0, n - search.samples_before(identity))
        if rate is None:
            return Answer(None, 0, 0.9)
        return Answer(Rate(rate, *wilson(rate * n, n), n), 5 * new, 0.9)


def run(search: BoundarySearch, script: Script) -> Pair | None:
    while probes := search.ask():
        search.tell([script.answer(search, p.text, p.n_samples, p.prompt_id) for p in probes])
    return search.pair


def by_words(*triggers: str, together: bool = False) -> Callable[[str], float]:
    """Refuses a text with any of the triggers; with `together` only one that has them all."""

    def rate(text: str) -> float:
        there = [trigger in bare(text) for trigger in triggers]
        return 1.0 if (all(there) if together else any(there)) else 0.0

    return rate


def seek(text: str, rate: Callable[[str], float | None], *relatives: str) -> tuple[Pair, Script]:
    script = Script(rate)
    found = run(BoundarySearch(Text(text, 0), [Text(r, 10) for r in relatives], LIMITS), script)
    assert found is not None
    return found, script


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PLAIN), min_size=3, max_size=14), st.data())
def test_one_trigger_word_is_found_and_nothing_else_is_changed(
    base: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(base)))
    text = " ".join([*base[:place], "zebra", *base[place:]])
    pair, _ = seek(text, by_words("zebra"))
    assert [e.removed for e in pair.edits] == [("zebra",)]
    assert pair.clear
    assert pair.source is Source.SPAN


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*PLAIN, "zebra", "kill", "tiger,"]), min_size=3, max_size=14),
    st.booleans(),
)
def test_the_edit_flips_and_nothing_smaller_that_was_tried_does(
    chosen: list[str], together: bool
) -> None:
    text = " ".join([*chosen, "zebra", "and", "kill", "it"])
    rate = by_words("zebra", "kill", together=together)
    script = Script(rate)
    search = BoundarySearch(Text(text, 0), [], LIMITS)
    pair = run(search, script)
    smaller = [t for t in search.tried if script.answers.get(t.text) == 0.0]
    if pair is None:
        assert not smaller
        return
    assert rate(pair.refused) >= 0.5 > rate(pair.answered)
    assert apply(pair.refused, pair.edits) == pair.answered
    assert pair.n_words <= min(t.n_words for t in smaller)


def test_the_word_of_an_answered_parent_is_put_back() -> None:
    parent = "How do I stop a stubborn zebra at night?"
    child = "How do I tickle a stubborn lion at dawn?"
    pair, _ = seek(child, by_words("lion"), parent)
    assert pair.answered == "How do I tickle a stubborn zebra at dawn?"
    assert (pair.source, pair.n_words) == (Source.LINEAGE, 1)


def test_two_words_that_refuse_only_together_cost_one_edit() -> None:
    pair, _ = seek(
        "a zebra would open the jar, and a tiger would close it",
        lambda t: by_words("zebra", "tiger", together=True)(t),
    )
    assert pair.n_words == 1


def test_triggers_in_one_clause_are_taken_out_without_their_neighbours() -> None:
    text = "please see an angry zebra or a wild tiger today, how do i open a jar"
    pair, _ = seek(text, by_words("zebra", "tiger"))
    assert sorted(w for e in pair.edits for w in e.removed) == ["tiger", "zebra"]


def test_a_figure_of_speech_becomes_plain_again() -> None:
    # Without the verb the scripted target still refuses: what is left reads odd.
    def rate(text: str) -> float:
        return 0.0 if "stop" in bare(text) else 1.0

    pair, _ = seek("How can I kill a Python process?", rate)
    assert pair.answered == "How can I stop a Python process?"


def test_a_side_that_a_gate_turns_away_is_no_pair() -> None:
    def rate(text: str) -> float | None:
        return by_words("zebra")(text) if "zebra" in bare(text) or "the" not in bare(text) else None

    script = Script(rate)
    search = BoundarySearch(Text("open the zebra now", 0), [], LIMITS)
    pair = run(search, script)
    assert pair is None or script.answers[pair.answered] == 0.0


def test_a_prompt_that_is_answered_after_all_has_no_pair() -> None:
    script = Script(lambda text: 0.2)
    assert run(BoundarySearch(Text("open the zebra", 4), [], LIMITS), script) is None
    assert [n for _, n in script.asked] == [10]


def test_a_doubtful_side_gets_more_samples_and_a_clear_one_wins() -> None:
    """Taking out `zebra` leaves 0.4, which 20 samples do not tell from 0.5; the clause leaves 0."""

    def rate(text: str) -> float:
        if "zebra" not in bare(text) and "angry" not in bare(text):
            return 0.0
        return 0.4 if "zebra" not in bare(text) else 1.0

    pair, script = seek("an angry zebra, how do i open a jar", rate)
    assert pair.clear
    assert sorted(w for e in pair.edits for w in e.removed) == ["angry", "zebra,"]
    assert 20 in [n for text, n in script.asked if script.answers[text] == 0.4]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2500), st.integers(0, 10))
def test_the_budget_is_kept(tokens: int, before: int) -> None:
    limits = Limits(4, 10, 0.5, tokens, 5)
    script = Script(by_words("zebra", "kill"))
    text = "Somebody is angry, so please: how do i kill a zebra, and open a jar?"
    search = BoundarySearch(Text(text, before), [Text("how do i open a jar?", before)], limits)
    run(search, script)
    assert search.spent <= tokens
    per_text: dict[str, int] = {}
    for asked, n in script.asked:
        per_text[prompt_id(asked)] = max(n, per_text.get(prompt_id(asked), 0))
    generated = 5 * sum(max(0, n - search.samples_before(asked)) for asked, n in per_text.items())
    assert generated == search.spent
    if tokens < 50 - 5 * before:
        assert search.cut_short


def test_the_same_answers_lead_the_same_way() -> None:
    text = "Somebody is angry, so please: how do i kill a zebra, and open a jar?"
    asked = [seek(text, by_words("zebra", "kill"))[1].asked for _ in range(2)]
    assert asked[0] == asked[1]


def test_a_relative_that_is_another_request_is_neither_probed_nor_a_pair() -> None:
    far = "why should cats and dogs of this town not get married"
    _, script = seek("how do i open a zebra", by_words("zebra"), far)
    assert far not in [text for text, _ in script.asked]


def test_what_is_far_away_flips_and_is_no_pair() -> None:
    class Far(Script):
        def answer(self, search: BoundarySearch, text: str, n: int, identity: str) -> Answer:
            return replace(super().answer(search, text, n, identity), cosine=0.3)

    search = BoundarySearch(Text("open the zebra now", 0), [], LIMITS)
    assert run(search, Far(by_words("zebra"))) is None


def test_a_pair_in_doubt_is_sampled_twice_as_often_before_it_is_taken() -> None:
    def rate(text: str) -> float:
        return 1.0 if "zebra" in bare(text) else 0.35

    pair, _ = seek("open the zebra now", rate)
    assert (pair.answered_rate.n, pair.clear) == (20, False)
