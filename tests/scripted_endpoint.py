"""A chat-completions server on loopback that does as it is told: real sockets, scripted mishaps.

`Mishap`s are used up one for each chat request, in order; after them it answers as a small model
would. It counts what it was asked, and can go away and come back on its port.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROBE = "Hi"  # what the engine says to find out what is offered
WORDS = ("Sure.", "Open", "the", "settings", "and", "press", "save.")


@dataclass(frozen=True)
class Mishap:
    """What happens to one request instead of an answer.

    status   with `headers` and `body` (JSON, or text as it is)
    hangs_s  says nothing for so long, then hangs up
    cut      hangs up at once, or after this many bytes of a true answer
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_s: float | None = None
    cut: int | None = None


@dataclass
class ScriptedEndpoint:
    """What the server offers, what it does next, and what it has seen.

    refuses_parameters: a request that holds one of them is answered with 400.
    choice: changes every choice of an answer before it is sent.
    """

    key: str | None = None
    models: Sequence[Mapping[str, Any]] | None = ({"id": "tiny", "max_model_len": 2000},)
    most_choices: int = 128
    logprobs: bool = True
    most_top_logprobs: int = 20  # more are turned down
    usage: bool = True
    refuses_parameters: tuple[str, ...] = ()
    names_parameters: bool = True
    choice: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)  # part of a prompt -> the answer to it
    mishaps: deque[Mishap] = field(default_factory=deque)
    asked: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    used: list[tuple[int, int]] = field(default_factory=list)  # prompt and completion tokens
    most_at_once: int = 0
    slow_s: float = 0.0
    port: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def begin(self) -> None:
        """Listen; after `go_away`, on the same port again."""

        class Handler(_Handler):
            endpoint = self

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def go_away(self) -> None:
        """Stop listening: whoever connects is refused, and open connections are hung up on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def is_away(self) -> bool:
        return self._server is None

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def next_mishap(self) -> Mishap | None:
        with self._lock:
            return self.mishaps.popleft() if self.mishaps else None

    def turned_down(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The error object for a request that asks for too much."""
        for name in self.refuses_parameters:
            if name in body:
                said = (
                    f"Unsupported parameter: '{name}'" if self.names_parameters else "Bad request"
                )
                return {"message": said, "param": name if self.names_parameters else None}
        if body.get("top_logprobs", 0) > self.most_top_logprobs:
            return {"message": "Invalid value for 'top_logprobs'", "param": "top_logprobs"}
        if len(body["messages"][-1]["content"]) > 20_000:
            return {"message": "too long", "code": "context_length_exceeded"}
        return None

    def completion(self, body: Mapping[str, Any]) -> dict[str, Any]:
        n = min(body.get("n", 1), self.most_choices)
        choices = [self._choice(body, i) for i in range(n)]
        answer: dict[str, Any] = {"model": f"{body['model']}-v1", "choices": choices}
        if self.usage:
            words = sum(len(m["content"].split()) for m in body["messages"])
            tokens = sum(len(c["message"]["content"].split()) for c in choices)
            answer["usage"] = {"prompt_tokens": 5 + words, "completion_tokens": tokens}
            if body["messages"][-1]["content"] != PROBE:
                self.used.append((5 + words, tokens))
        return answer

    def _choice(self, body: Mapping[str, Any], index: int) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        scripted = next((text for part, text in self.texts.items() if part in prompt), None)
        draw = hashlib.sha256(f"{prompt}:{body.get('seed')}:{index}".encode()).digest()
        most = body.get("max_tokens") or body.get("max_completion_tokens") or 50
        words = scripted.split() if scripted else WORDS[: 1 + draw[0] % len(WORDS)]
        cut = words[:most]
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": " ".join(cut)},
            "finish_reason": "length" if len(words) > most else "stop",
        }
        if self.logprobs and body.get("logprobs"):
            top = [
                {"token": word, "logprob": -0.5 - place}
                for place, word in enumerate(WORDS[: body.get("top_logprobs", 0)])
            ]
            content = [{"token": word, "logprob": -0.5, "top_logprobs": top} for word in cut]
            choice["logprobs"] = {"content": content}
        return choice | dict(self.choice)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not worth a word."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    endpoint: ScriptedEndpoint
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._may_enter():
            return
        if self.endpoint.models is None:
            self._send(404, {"error": {"message": "no such address"}})
        else:
            self._send(200, {"object": "list", "data": list(self.endpoint.models)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may_enter():
            return
        with self.endpoint.counted():
            self.endpoint.asked.append(body)
            self.endpoint.authorizations.append(self.headers["Authorization"])
            if self.endpoint.slow_s:
                time.sleep(self.endpoint.slow_s)
            mishap = self.endpoint.next_mishap()
            if mishap is not None and mishap.hangs_s is not None:
                time.sleep(mishap.hangs_s)
                self.close_connection = True
            elif mishap is not None and mishap.cut is not None:
                self._send(200, self.endpoint.completion(body), cut=mishap.cut)
            elif mishap is not None:
                self._send(mishap.status, mishap.body, mishap.headers)
            else:
                self._answer(body)

    def _answer(self, body: dict[str, Any]) -> None:
        known = [model["id"] for model in self.endpoint.models or ()]
        if known and body["model"] not in known:
            self._send(404, {"error": {"message": f"no model {body['model']}"}})
        elif (error := self.endpoint.turned_down(body)) is not None:
            self._send(400, {"error": error})
        else:
            self._send(200, self.endpoint.completion(body))

    def _may_enter(self) -> bool:
        if self.endpoint.is_away:
            self.close_connection = True
            return False
        key = self.endpoint.key
        given = self.headers["Authorization"]
        if key is None or given == f"Bearer {key}":
            return True
        # Some servers repeat the key that they turn down.
        self._send(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
        return False

    def _send(
        self,
        status: int,
        body: object,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if cut == 0:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        return None


@contextmanager
def scripted_endpoint(**offers: Any) -> Iterator[ScriptedEndpoint]:
    endpoint = ScriptedEndpoint(**offers)
    endpoint.begin()
    try:
        yield endpoint
    finally:
        endpoint.go_away()
