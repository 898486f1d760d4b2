"""The job server's client: words that no shell touches, and servers that are none."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import jobs, probe
from workers.interface import ConfigError, TargetError
from workers.jobs import Job, JobServer, command_line

HOSTILE = [
    "a b",
    "; touch owned",
    "$(touch owned)",
    "`touch owned`",
    "' ; touch owned ; '",
    '" && touch owned',
    "--resume=x\ny",
    "*",
    "~",
    "",
    "\\",
    "é\u202e\U0001f600",
]


def through_a_shell(words: list[str], folder: Path) -> list[str]:
    """What a command is given when a shell reads our line."""
    line = command_line(["printf", "%s\\0", *words])
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def test_no_word_is_taken_for_shell_syntax(tmp_path: Path) -> None:
    assert through_a_shell(HOSTILE, tmp_path) == HOSTILE
    assert not list(tmp_path.iterdir())


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_any_words_come_out_as_they_went_in(words: list[str]) -> None:
    assert through_a_shell(words, Path("/")) == words


def test_a_word_that_no_command_line_holds_is_an_error() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        command_line(["a\0b"])


@pytest.mark.parametrize("job", ["", ".", "..", "../x", "a/b", "a?b", "a b"])
def test_an_id_that_would_change_the_path_is_no_job(job: str) -> None:
    with pytest.raises(ConfigError, match="is no job"):
        jobs._safe(job)


# Servers that are none


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "address", ["auto", "127.0.0.1:8265", "ray://h:10001", "http://", "http://a b", "http://h:1/x"]
)
def test_only_an_http_address_names_a_job_server(address: str) -> None:
    with pytest.raises(ConfigError, match=r"write http://HOST:8265"):
        JobServer(address)


def test_where_nothing_listens_is_said_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match="no job server answers there"):
        JobServer("http://127.0.0.1:1")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("status", "body"), [(404, "no"), (500, "no"), (200, "no"), (200, "{}"), (302, "")]
)
def test_another_server_is_no_job_server(status: int, body: str) -> None:
    with answering(status, body) as address, pytest.raises(ConfigError, match="no job server"):
        JobServer(address)


def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_SAYS_ITS_VERSION_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ConfigError, match="no job server answers there"):
            JobServer(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 5


def test_the_address_that_is_given_wins_over_rays_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    with answering(200, '{"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}') as address:
        assert JobServer(address).ray_version == "2.60.0"


def test_a_cluster_with_an_older_ray_is_refused(tmp_path: Path) -> None:
    with answering(200, '{"version": "4", "ray_version": "2.40.0", "ray_commit": "x"}') as address:
        server = JobServer(address)
        with pytest.raises(ConfigError, match=r"runs Ray 2\.40\.0, evocliff needs ray>=2\.60"):
            server.submit(["true"], folder=tmp_path, slug="x", about={})


# Tokens


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_token_is_looked_for_where_ray_looks(
    no_token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probe.token() is None
    (no_token / ".ray").mkdir()
    (no_token / ".ray/auth_token").write_text("at home\n")
    assert probe.token() == "at home"
    (no_token / "other").write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(no_token / "other"))
    assert probe.token() == "named"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert probe.token() == "given"


def test_a_token_file_that_cannot_be_read_is_named(
    no_token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(no_token / "absent"))
    with pytest.raises(ConfigError, match="RAY_AUTH_TOKEN_PATH"):
        probe.token()


@pytest.mark.parametrize(
    ("held", "status", "said"),
    [("wrong", 403, "is not the one that you hold"), (None, 401, "asks for a token")],
)
def test_a_wrong_or_missing_token_is_told_apart(
    no_token: Path,
    monkeypatch: pytest.MonkeyPatch,
    held: str | None,
    status: int,
    said: str,
) -> None:
    if held:
        monkeypatch.setenv("RAY_AUTH_TOKEN", held)
    with answering(status, "no") as address, pytest.raises(ConfigError, match=said):
        JobServer(address)


# Following


class Breaking(JobServer):
    """A job server whose log stream breaks as the script says; each stream begins at the beginning."""

    def __init__(self, *streams: list[str | Exception], status: list[str]) -> None:
        self._streams, self._states = list(streams), status

    async def _tail(self, job: str) -> AsyncGenerator[str]:
        for chunk in self._streams.pop(0):
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def job(self, job: str) -> Job:
        status = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return Job(job, status, None, None, None, "", {})


def test_a_stream_that_breaks_is_taken_up_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_POLL_S", 0.01)
    server = Breaking(
        ["one\n", "two\n", TargetError("cut")],
        ["one\ntw", TargetError("cut")],
        ["one\n", "two\nthree\n"],
        status=["RUNNING", "SUCCEEDED"],
    )
    written: list[str] = []
    assert server.follow("j", written.append).status == "SUCCEEDED"
    assert "".join(written) == "one\ntwo\nthree\n"


def test_a_stream_that_ends_before_its_job_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "_POLL_S", 0.01)
    server = Breaking([], ["a"], ["ab"], status=["PENDING", "RUNNING", "RUNNING", "FAILED"])
    written: list[str] = []
    assert server.follow("j", written.append).status == "FAILED"
    assert "".join(written) == "ab"


def test_a_job_server_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_POLL_S", 0.01)
    monkeypatch.setattr(jobs, "_LOST_S", 0.05)
    server = Breaking(*[[TargetError("gone")] for _ in range(100)], status=["RUNNING"])
    with pytest.raises(TargetError, match="gone"):
        server.follow("j", lambda text: None)
