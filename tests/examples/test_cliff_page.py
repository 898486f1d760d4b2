"""The page of refusal cliffs: what it shows, and that nothing of a model gets into its markup."""

from __future__ import annotations

import importlib
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@cache
def example(name: str) -> Any:
    folder = str(Path(__file__).parents[2] / "examples")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def cliff_page() -> Any:
    return example("cliff_page")


def trace(**changed: Any) -> dict[str, Any]:
    return {
        "prompt": "How?", "kind": "cliff", "planted": "cliff", "scores": [0.9, 0.9, 0.9, 0.9, 0.1, 0.1],
        "n_tokens": 4, "plateau": 0.9, "plateau_top": 0.9, "final": 0.1, "cliff": 0.8, "position": 4,
        "reasoning": "I must refuse.", "response": "Sure.", **changed,
    }  # fmt: skip


HEADS = {
    "map": [[-0.5, 0.2], [0.0, 0.1]],
    "suppressing": [{"layer": 0, "head": 0, "contribution": -0.5}],
    "ablated": {"none": {"refusal": 0.1, "over_refusal": None, "perplexity": 12.0}},
}


def tags(html: str) -> set[str]:
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.add(tag)

    Reader().feed(html)
    return found


def made(**changed: Any) -> str:
    chosen = [{"misalignment": 0.8, "prompt": changed.get("prompt", "How?")}]
    page: str = cliff_page().page([trace(**changed)], HEADS, chosen, model="m")
    return page


def test_text_of_a_model_is_never_markup() -> None:
    html = made(prompt=HOSTILE, reasoning=HOSTILE, response=HOSTILE, planted=HOSTILE)
    assert not {"script", "img"} & tags(html)
    assert html.count("&lt;script&gt;") == 5


def test_the_drop_is_marked_at_its_token_and_from_the_plateau_to_the_final_score() -> None:
    page = cliff_page()
    html = page.curve(trace())
    assert "drop 0.80 at token 4" in html
    mark = re.search(r'class="mark" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="([\d.]+)"', html)
    assert mark
    x, other, top, bottom = map(float, mark.groups())
    point = re.search(r'points="([^"]+)"', html)
    assert point
    assert x == other == float(point[1].split()[4].split(",")[0])
    assert top < bottom  # the plateau is above


def test_an_inverse_cliff_rises() -> None:
    found = trace(kind="inverse", scores=[0.1] * 4 + [0.9] * 2, plateau_top=0.1, final=0.9)
    assert "rise 0.80 at token 4" in cliff_page().curve(found)


def test_a_course_without_a_cliff_has_no_mark() -> None:
    assert 'class="mark"' not in cliff_page().curve(trace(kind="none", position=None))


def test_what_has_no_trace_is_counted_and_not_drawn() -> None:
    html = cliff_page().page([trace(), {"prompt": "x", "reason": "empty"}], HEADS, [], model="m")
    assert "1 thoughts traced, 1 without a trace" in html


def test_the_page_loads_nothing() -> None:
    assert not re.search(r"(href|src|url\()", made())


def test_a_few_prompts_of_the_demo_are_of_all_kinds() -> None:
    kinds = ("refuse", "refuse", "cliff", "cliff", "plain", "plain", "inverse", "inverse")
    rows = [{"kind": kind} for kind in kinds * 4]
    few = example("cliff_demo").of_each_kind(rows, 8)
    assert sorted(row["kind"] for row in few) == ["cliff", "inverse", "plain", "refuse"]
