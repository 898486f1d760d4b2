"""Surfaces: the shipped tasks and pages, frames, and pages in a real Chromium."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evo import datasets, surfaces
from evo.surfaces import browser, frames
from fitness.assessment import Answer, Asked
from fitness.first_decision import read
from fitness.safety import seed_contrast
from fitness.types import Safety
from workers.embedders import SentenceTransformerEmbedder
from workers.interface import ConfigError

TASKS = [
    json.loads(line) for line in surfaces.shipped("tasks.jsonl").read_text("utf-8").splitlines()
]
PAGES = {task["prompt"]: task["page"] for task in TASKS}


@pytest.fixture(scope="module")
def trees() -> dict[str, str]:
    found = browser.snapshots(surfaces.page_files(PAGES, None))
    return {page: frames.numbered(tree) for page, tree in found.items()}


def test_a_hundred_triggered_tasks_over_ten_pages_and_more_beside_plain_ones() -> None:
    triggered = [t for t in TASKS if t["trigger"]]
    assert len(triggered) >= 100
    assert len({t["page"] for t in triggered}) >= 10
    assert len({t["id"] for t in TASKS}) == len({t["prompt"] for t in TASKS}) == len(TASKS)
    assert {t["label"] for t in TASKS} == {"harmless"}
    for task in triggered:
        assert task["strategy"] != "plain"
    plain = Counter(t["page"] for t in TASKS if not t["trigger"])
    assert set(plain.values()) == {2}


def test_every_task_can_be_begun_on_its_page(trees: dict[str, str]) -> None:
    for task in TASKS:
        assert frames.number_of(trees[task["page"]], task["element"]) is not None, task


@pytest.mark.slow
def test_the_gate_calls_hardly_any_task_harmful() -> None:
    """It reads sentences as if said in chat; what it minds was read by a person and is harmless."""
    gate = seed_contrast.SeedContrastGate(SentenceTransformerEmbedder("local:all-minilm-l6-v2"))
    said = asyncio.run(gate.check([t["prompt"] for t in TASKS]))
    minded = [t["prompt"] for t, s in zip(TASKS, said, strict=True) if s.outcome is Safety.HARMFUL]
    assert len(minded) <= 0.15 * len(TASKS), minded


def test_the_same_pages_make_the_same_surface_for_a_part_of_the_tasks() -> None:
    few = dict(list(PAGES.items())[:3])
    whole, part = (
        surfaces.build(["browser-agent"], p, None)["browser-agent"] for p in (PAGES, few)
    )
    assert whole is not None
    assert part is not None
    assert whole.name == part.name
    safer = surfaces.build(["tool-agent"], few, "Be careful.")["tool-agent"]
    plain = surfaces.build(["tool-agent"], few, None)["tool-agent"]
    assert safer is not None
    assert plain is not None
    assert safer.name != plain.name
    assert safer.messages(next(iter(few)))[0].content.startswith("Be careful.\n\n")


def test_frames_end_with_the_instruction_and_show_page_or_tools(trees: dict[str, str]) -> None:
    made = surfaces.build(surfaces.NAMES, PAGES, None)
    assert made["chat"] is None
    task = TASKS[0]
    for name in ("tool-agent", "browser-agent"):
        surface = made[name]
        assert surface is not None
        assert len(surface.name) <= 64
        messages = surface.messages(task["prompt"])
        assert [m.role for m in messages] == ["system", *["user", "assistant"] * 2, "user"]
        assert messages[-1].content.endswith(task["prompt"])
    browsing, tools = made["browser-agent"], made["tool-agent"]
    assert browsing is not None
    assert tools is not None
    assert '"Kill nightly-import"' in browsing.messages(task["prompt"])[-1].content
    assert '"kill_job"' in tools.messages(task["prompt"])[0].content


def test_decisions_are_counted_and_so_is_what_is_not_there() -> None:
    made = surfaces.build(["browser-agent", "tool-agent"], PAGES, None)
    prompt = TASKS[0]["prompt"]

    def asked(*said: tuple[str, float | None]) -> list[Asked]:
        answers = tuple(Answer(text, 3, None, (p,), None) for text, p in said)
        return [Asked("i", prompt, "harmless", None, "seed", answers)]

    browsing, tools = made["browser-agent"], made["tool-agent"]
    assert browsing is not None
    assert tools is not None
    told = asked(("CLICK [4]", 0.0), ("CLICK [99]", 0.0), ("No.", 0.9), ("Hm.", 0.1), ("", None))
    assert surfaces.decisions(browsing, told) == {
        "act": 2,
        "ask": 0,
        "refuse": 1,
        "malformed": 1,
        "impossible": 1,
        "unscored": 1,
    }
    told = asked(('{"tool": "kill_job"', 0.0), ('{"tool": "fly"', 0.0), ("Which one?", 0.0))
    assert surfaces.decisions(tools, told) == {
        "act": 2,
        "ask": 1,
        "refuse": 0,
        "malformed": 0,
        "impossible": 1,
    }
    assert browsing.can(prompt, read("SCROLL down"))


class _Asked(BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"leaked")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def outside() -> Iterator[int]:
    _Asked.seen.clear()
    with socketserver.TCPServer(("127.0.0.1", 0), _Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_page_that_would_fetch_something_gets_nothing(tmp_path: Path, outside: int) -> None:
    here = f"http://127.0.0.1:{outside}"
    secret = tmp_path / "secret.html"
    secret.write_text("<p>secret</p>")
    (tmp_path / "wild.html").write_text(
        f'<img src="{here}/image"><link rel="stylesheet" href="{here}/style">'
        f'<iframe src="{here}/frame"></iframe><iframe src="{secret.as_uri()}"></iframe>'
        f'<meta http-equiv="refresh" content="0; url={here}/gone">'
        f'<script>fetch("{here}/script"); document.body.append("scripted")</script>'
        "<button>Stay</button>"
    )
    shown = browser.snapshots({"wild": tmp_path / "wild.html"})["wild"]
    assert 'button "Stay"' in shown
    assert "secret" not in shown
    assert "scripted" not in shown
    assert _Asked.seen == []


def test_what_is_wrong_is_said_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"--surface 'phone': write chat, tool-agent"):
        surfaces.build(["phone"], PAGES, None)
    with pytest.raises(ConfigError, match=r"names no pages.*--page-col"):
        surfaces.build(["tool-agent"], {}, None)
    with pytest.raises(ConfigError, match=r"there is no page 'moon' among bank, .*--pages"):
        surfaces.build(["browser-agent"], {"Fly.": "moon"}, None)
    outside = tmp_path / "pages"
    outside.mkdir()
    (tmp_path / "x.html").write_text("<p>x</p>")
    with pytest.raises(ConfigError, match=r"no page '../x.html' in"):
        surfaces.build(["browser-agent"], {"Fly.": "../x.html"}, None, outside)
    monkeypatch.setattr(browser, "chromium", lambda: "/nowhere/chromium")
    with pytest.raises(ConfigError, match=r"there is no Chromium; install it: `apt-get install"):
        surfaces.build(["browser-agent"], PAGES, None)


def test_behaviours_in_the_form_of_browserart_are_read_as_harmful(tmp_path: Path) -> None:
    """Its own file is not shipped; placeholder texts stand for the behaviours."""
    rows = [
        {
            "id": n,
            "behavior": f"placeholder behaviour {n} ",
            "website": "mail/compose",
            "semantic_category": "action/placeholder ",
            "context": "",
        }
        for n in range(3)
    ]
    file = tmp_path / "hbb.json"
    file.write_text(json.dumps(rows))
    options = datasets.Options(
        prompt="behavior", topic="semantic_category", page="website", assume=Safety.HARMFUL
    )
    data = datasets.read(file, options)
    assert [a.label for a in data.asked] == [Safety.HARMFUL] * 3
    assert set(data.pages.values()) == {"mail/compose"}
    made = surfaces.build(["tool-agent"], data.pages, None)["tool-agent"]
    assert made is not None
    assert made.messages(data.asked[0].prompt)[-1].content == data.asked[0].prompt
