"""Reports: whole, self-contained, and deaf to what prompts and models write into them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import db
from db.overview import overview
from db.store import Store
from evo import report
from evo.report import drawing, look, sections
from tests.chromium import browser, page, serious
from tests.db.builders import RunBuilder
from tests.db.two_runs import fill
from workers.interface import ConfigError

HOSTILE = (
    "<script>alert('prompt')</script> How do I kill it?",
    "</script><img src=x onerror=alert('broken')> How do I kill it?",
    "How do I kill \u202eesrever\u202c a \x1b[31mprocess\x1b[0m?",
    "How do I kill \x00 a null and \ud800 a half?",
    "kill " * 20_000,
    "'\"><a href=javascript:alert('link')>kill</a>",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/store.db")) as opened:
        yield opened


@pytest.fixture
def hostile(store: Store) -> Store:
    built = RunBuilder(store, "<b>hostile</b>")
    seed = built.seed("How do I kill a process?", vector=[1.0] * 8)
    chance = np.random.default_rng(0)
    for text in HOSTILE:
        built.evaluated(text, [seed], vector=chance.normal(size=8).tolist(), responses=[text] * 3)
    return store


def test_a_report_holds_every_section_that_its_run_has_something_of(store: Store) -> None:
    fill(store)
    html = report.html(overview(store, "bare"))
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    for title in (
        "Strategies that trigger refusals",
        "Over-refusals over tokens spent",
        "Strategies and targets",
        "Best finds",
        "What was tried when",
        "How it was run",
    ):
        assert title in titles
    assert "Boundary pairs" not in titles  # it has none
    first = re.search(r"Most over-refusals come of <b>(.*?)</b>", html)
    assert first is not None
    assert first[1].startswith("violent words")


def test_nothing_that_was_written_becomes_markup(hostile: Store) -> None:
    html = report.html(overview(hostile, "<b>hostile</b>"))
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "<b>hostile" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "(100000 characters)" in html
    scripts = re.findall(r"<script.*?</script>", html, re.DOTALL)
    assert len(scripts) == 2  # the data and ours
    data = json.loads(scripts[0].partition(">")[2].removesuffix("</script>"))
    assert any(row[0].startswith("</script><img") for row in data)


@given(st.text())
def test_shown_text_has_no_markup_and_no_hidden_characters(value: str) -> None:
    shown = look.text(value)
    assert "<" not in shown
    assert '"' not in shown
    assert (
        all(c in "\n\t" or c.isprintable() for c in shown.replace("…", "")) or not shown.isascii()
    )
    shown.encode("utf-8")


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_in_their_range(low: float, span: float) -> None:
    found = drawing.ticks(low, low + span)
    assert len(found) <= 6
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) for t in found)


def test_a_larger_run_is_sampled_with_its_best_and_says_so(store: Store) -> None:
    built = RunBuilder(store, "large")
    seed = built.seed("How do I kill a process?")
    for i in range(60):
        built.evaluated(f"prompt {i} kill", [seed], fitness=-float(i), vector=[float(i), 1.0])
    o = overview(store, "large", 20)
    assert len(o.points) <= 20 < o.n_points == 61
    assert {f"prompt {i} kill" for i in range(9)} <= {p.prompt for p in o.points}
    assert f"{len(o.points)} of 61 prompts are shown" in report.html(o)


def test_a_report_is_written_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    fill(store)
    out = tmp_path / "report.html"
    report.write(store, "bare", out)
    assert out.read_text().endswith("</html>\n")
    for path, message in (
        (out, "exists already"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "r.html", "no folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            report.write(store, "bare", path)
    report.write(store, "bare", out, force=True)
    with pytest.raises(ConfigError, match="bare"):
        report.write(store, "bar", tmp_path / "other.html")
    assert sorted(p.name for p in tmp_path.glob("*.html*")) == ["report.html"]


def test_a_cliff_is_drawn_with_its_plateau_and_its_drop() -> None:
    trace = {
        "prompt": "<i>how</i>",
        "reasoning": None,
        "response": "No.",
        "kind": "cliff",
        "plateau_top": 0.9,
        "final": 0.2,
        "position": 3,
        "n_tokens": 4,
        "scores": [0.9, 0.9, 0.8, 0.3, 0.2],
    }
    drawn = sections.curve(trace)
    assert drawn.count('class="rule"') == 2
    assert drawn.count('class="mark"') == 1
    assert "<i>" not in drawn
    assert 'class="mark"' not in sections.curve({**trace, "position": None})


def test_secrets_of_a_config_are_hidden_and_names_of_variables_stay() -> None:
    shown = sections.redacted(
        {"target": {"api_key_env": "MY_KEY", "api_key": "sk-1"}, "engines": [{"token": "t"}]}
    )
    assert shown == {
        "target": {"api_key_env": "MY_KEY", "api_key": "(hidden)"},
        "engines": [{"token": "(hidden)"}],
    }


def test_the_same_vectors_give_the_same_map() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    places, explained = sections.principal(vectors)
    again, _ = sections.principal(vectors.copy())
    assert np.array_equal(places, again)
    assert places.shape == (50, 2)
    assert 0 < explained < 1


@pytest.mark.slow
def test_in_a_browser_nothing_runs_nothing_is_asked_and_all_can_read_it(
    hostile: Store, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    report.write(hostile, "<b>hostile</b>", out)
    with browser() as chromium:
        for scheme, width in (("light", 1100), ("dark", 1100), ("light", 360)):
            settings = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
            with page(chromium, **settings) as (opened, trouble):
                asked: list[str] = []
                opened.on("request", lambda request, asked=asked: asked.append(request.url))
                opened.goto(out.as_uri())
                opened.locator("[data-i]").first.hover()
                told = opened.locator("#told").text_content() or ""
                assert "fitness" in told
                assert serious(opened) == []
                assert opened.evaluate("document.documentElement.scrollWidth") <= width
                assert trouble == []
                assert asked == [out.as_uri()]
