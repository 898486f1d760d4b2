"""The web page: what a person finds by it, and who else gets nothing."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.testclient import TestClient
from typer.testing import CliRunner

import db
from evo.cli import app as cli
from evo.ui import app, pages
from tests.chromium import browser, page, serious
from tests.db.builders import RunBuilder
from tests.db.two_runs import fill
from tests.evo.report.test_report import HOSTILE

HERE = {"host": "127.0.0.1:8000"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = f"sqlite:///{tmp_path_factory.mktemp('ui')}/store.db"
    with contextlib.closing(db.open(made)) as store:
        fill(store)
        built = RunBuilder(store, "<b>hostile</b>")
        seed = built.seed("How do I kill a thread?")
        for text in HOSTILE:
            built.evaluated(text, [seed], responses=[text] * 3)
        for i in range(120):
            built.evaluated(f"How do I kill process number {i}?", [seed], fitness=-float(i + 1))
    return made


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[TestClient]:
    with TestClient(app.build(url), headers=HERE) as made:
        yield made


def test_every_run_is_listed_and_opens(client: TestClient) -> None:
    listed = client.get("/").text
    links = re.findall(r'href="(/run/[0-9a-f]+)">([^<]+)<', listed)
    assert {name for _, name in links} >= {"bare", "&lt;b&gt;hostile&lt;/b&gt;"}
    for link, name in links:
        opened = client.get(link)
        assert opened.status_code == 200
        assert name in opened.text


def test_a_runs_page_names_the_strategies_that_trigger_most(client: TestClient) -> None:
    told = re.search(r"Most over-refusals come of <b>(.*?)</b>", client.get("/run/bare").text)
    assert told is not None
    assert told[1].startswith("violent words")


def test_prompts_are_filtered_and_paged_by_the_server(client: TestClient) -> None:
    found = client.get("/prompts", params={"like": "process number", "min_refusal": "0.5"}).text
    assert found.count('<a class="text"') == pages.PAGE
    assert "evocliff query --like &#x27;process number&#x27; --min-refusal 0.5" in found
    seen: set[str] = set()
    link = "/prompts?like=process+number"
    for _ in range(5):
        text = client.get(link).text
        here = set(re.findall(r"/prompt/([0-9a-f]+)", text))
        assert not here & seen
        seen |= here
        onward = re.search(r'<a href="([^"]+)">next</a>', text)
        if onward is None:
            break
        link = onward[1].replace("&amp;", "&")
    assert len(seen) == 120


def test_a_prompt_shows_what_is_behind_it(client: TestClient) -> None:
    found = client.get("/prompts", params={"like": "sourdough"}).text
    link = re.search(r"/prompt/[0-9a-f]+", found)
    assert link is not None
    shown = client.get(link[0]).text
    for part in ("Evaluations", "Lineage", "Safety gates", "Responses"):
        assert f"<h2>{part}</h2>" in shown
    assert client.get(link[0][:14]).status_code == 200  # the beginning of an id will do


def test_runs_are_compared(client: TestClient) -> None:
    runs = re.findall(r'name="run" value="([0-9a-f]+)"', client.get("/").text)
    shown = client.get("/compare", params={"run": runs[:2]})
    assert shown.status_code == 200
    assert "over refusals" in shown.text
    assert client.get("/compare", params={"run": runs[:1]}).status_code == 400


@pytest.mark.parametrize(
    ("link", "status", "said"),
    [
        ("/prompts?sort=colour", 400, "is not one of"),
        ("/prompts?min_refusal=much", 400, "is no number"),
        ("/prompts?min_refusal=7", 400, "between 0 and 1"),
        ("/prompts?page=0", 400, "page: 1 to"),
        ("/prompts?page=x", 400, "page: 1 to"),
        ("/prompts?run=bar", 400, "bare"),
        ("/prompts?like=nowhere+to+be+found", 200, "Nothing matches"),
        ("/run/nothing", 400, "is not in"),
        ("/prompt/zz", 400, "zz"),
        ("/run/..%2f..%2fetc%2fpasswd", 404, "no such page"),
        ("/elsewhere", 404, "no such page"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    client: TestClient, link: str, status: int, said: str
) -> None:
    answer = client.get(link)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text[-400:]


def test_nothing_that_was_written_becomes_markup(client: TestClient) -> None:
    shown = client.get("/prompts", params={"run": "<b>hostile</b>"}).text
    shown += client.get("/run/<b>hostile</b>").text
    for prompt in set(re.findall(r"/prompt/[0-9a-f]+", shown)):
        shown += client.get(prompt).text
    shown += client.get("/prompts", params={"like": HOSTILE[1], "strategy": "<i>"}).text
    assert "<script>alert" not in shown
    assert "<img" not in shown
    assert "<b>hostile" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_another_host_name_and_every_other_method_get_nothing(url: str) -> None:
    with TestClient(app.build(url)) as client:
        assert client.get("/", headers={"host": "evil.example"}).status_code == 421
        assert client.get("/", headers={"host": "localhost:8000"}).status_code == 200
        assert client.get("/", headers={"host": "[::1]:8000"}).status_code == 200
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, "/", headers=HERE).status_code == 405
        answer = client.get("/", headers=HERE)
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src &#x27;none&#x27;" in answer.text or "default-src 'none'" in answer.text


def test_with_a_token_nothing_is_shown_without_it(url: str) -> None:
    with TestClient(app.build(url, "right"), headers=HERE, base_url="http://127.0.0.1") as client:
        for link in ("/", "/prompts", "/elsewhere", "/?token=wrong"):
            assert client.get(link).status_code == 403
        first = client.get("/prompts?token=right&like=kill", follow_redirects=False)
        assert first.status_code == 303
        assert "token" not in first.headers["location"]
        assert "HttpOnly" in first.headers["set-cookie"]
        assert "SameSite=strict" in first.headers["set-cookie"]
        assert client.get("/").status_code == 200  # by the cookie


def test_what_cannot_start_says_so_in_one_line(tmp_path: Path, url: str) -> None:
    missing = CliRunner().invoke(cli, ["ui", "--db", f"sqlite:///{tmp_path}/none.db"])
    assert missing.exit_code != 0
    assert "none.db" in missing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        busy = CliRunner().invoke(cli, ["ui", "--db", url, "--port", port])
    assert busy.exit_code == 2
    assert f"--port {port}: cannot be bound" in busy.stderr


@pytest.mark.slow
def test_a_person_finds_by_the_page_alone_what_triggers_most(url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app.build(url), port=port, log_level="warning"))
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    try:
        while not server.started:
            time.sleep(0.01)
        with (
            browser() as chromium,
            page(chromium, viewport={"width": 900, "height": 800}) as (opened, trouble),
        ):
            opened.goto(f"http://127.0.0.1:{port}/")
            assert serious(opened) == []
            opened.get_by_role("link", name="bare").click()
            assert "violent words" in (opened.locator("section b").first.text_content() or "")
            assert serious(opened) == []
            opened.get_by_role("link", name="its prompts").click()
            opened.get_by_label("contains").fill("sourdough")
            opened.get_by_role("button", name="Find").click()
            assert serious(opened) == []
            opened.get_by_role("link", name="sourdough").click()
            assert "sourdough" in (opened.locator("h1").text_content() or "")
            assert serious(opened) == []
            for text in ("<b>hostile</b>",):
                opened.goto(f"http://127.0.0.1:{port}/")
                opened.get_by_role("link", name=text).click()
            assert trouble == []
    finally:
        server.should_exit = True
        serving.join(20)


def test_another_file_in_place_of_the_database_is_read_and_a_missing_one_is_named(
    tmp_path: Path,
) -> None:
    def filled(name: str, run: str) -> Path:
        with contextlib.closing(db.open(f"sqlite:///{tmp_path}/{name}")) as store:
            RunBuilder(store, run)
        return tmp_path / name

    first = filled("store.db", "the first")
    with TestClient(app.build(f"sqlite:///{first}"), headers=HERE) as asked:
        assert "the first" in asked.get("/").text
        filled("other.db", "the second").replace(first)
        assert "the second" in asked.get("/").text
        first.unlink()
        answer = asked.get("/")
        assert answer.status_code == 500
        assert "no such database" in answer.text
