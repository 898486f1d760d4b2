"""The pages as a Starlette application, and who may ask for them.

It binds to this machine alone unless told otherwise, and then wants a token. Requests under another host
name are refused (DNS rebinding). What changes something is a form that holds a word made at the start, which
other sites cannot know; a browser that says the request came from another site is refused besides.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from db.connection import absolute
from db.store import Store
from evo.ui import exporting, frame, pages, reviewing, searching
from evo.ui.opened import Opened
from evo.ui.overviews import Overviews
from workers.interface import ConfigError, EvocliffError

COOKIE = "evocliff_token"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all, forms would come from the origin "null"
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MOST_BYTES = 65_536  # of a form
Show = Callable[[Store, Request], str]
# From the database's URL, the request and its fields: a page, or the address to go on at.
Change = Callable[[str, Request, Mapping[str, str]], str]


def build(
    url: str,
    token: str | None = None,
    hosts: frozenset[str] = frozenset(),
    *,
    folder: Path | None = None,
    configs: Path = Path(),
) -> Starlette:
    """The application over the database at `url`.

    Args:
        token: wanted of every request (once as ?token=, then as a cookie); None: of none.
        hosts: names, beside those of this machine, under which it may be asked.
        folder: for exports and logs; None: nothing can be changed.
        configs: folder of the configs that searches are started from.
    """
    opened = Opened(url)
    routes = [
        Route("/", partial(_answer, opened=opened, show=pages.runs)),
        Route("/compare", partial(_answer, opened=opened, show=pages.compare)),
        Route("/run/{run}", partial(_answer, opened=opened, show=pages.run)),
        Route("/prompts", partial(_answer, opened=opened, show=pages.prompts)),
        Route("/prompt/{prompt}", partial(_answer, opened=opened, show=pages.prompt)),
    ]
    if folder is not None:
        routes += [
            Route("/review/{run}", partial(_answer, opened=opened, show=reviewing.show)),
            Route("/search", partial(_answer, opened=opened, show=searching.show)),
            Route("/searches/{name}", partial(_answer, opened=opened, show=searching.log)),
            *(
                Route(path, partial(_change, url=url, change=change), methods=["POST"])
                for path, change in (
                    ("/review/{run}", reviewing.put),
                    ("/export", exporting.put),
                    ("/search", searching.start),
                    ("/resume", searching.resume),
                    ("/stop", searching.stop),
                )
            ),
        ]
    guard = Middleware(_Guard, token=token, hosts=_LOCAL_NAMES | hosts, is_fixed=folder is None)

    @contextlib.asynccontextmanager
    async def alive(_: Starlette) -> AsyncIterator[None]:
        yield
        opened.close()

    made = Starlette(
        routes=routes, middleware=[guard], exception_handlers={404: _not_found}, lifespan=alive
    )
    made.state.folder, made.state.configs = folder, configs
    made.state.form_token = token_urlsafe(24)
    made.state.absolute_url = absolute(url)
    made.state.started = []
    made.state.overviews = Overviews()
    return made


async def _answer(request: Request, opened: Opened, show: Show) -> Response:
    """One page, read in a thread by a connection that cannot write."""
    from anyio import to_thread

    def read() -> Response:
        try:
            return HTMLResponse(show(opened.store(), request))
        except ConfigError as error:
            return HTMLResponse(frame.trouble(str(error)), 400)
        except EvocliffError as error:
            return HTMLResponse(frame.trouble(str(error)), 500)

    return await to_thread.run_sync(read)


async def _change(request: Request, url: str, change: Change) -> Response:
    """Something is changed, in a thread; then a page, or on to another."""
    from anyio import to_thread

    said = request.headers.get("content-length", "")
    if not said.isdecimal() or int(said) > _MOST_BYTES:
        return HTMLResponse(frame.trouble("The form is too long."), 413)
    fields = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    if not _is_ours(request, fields.get(frame.TOKEN, "")):
        return HTMLResponse(
            frame.trouble(
                "This form is not of this page, or of an earlier start of it; load it anew."
            ),
            403,
        )

    def do() -> Response:
        try:
            done = change(url, request, fields)
        except ConfigError as error:
            return HTMLResponse(frame.trouble(str(error)), 400)
        except EvocliffError as error:
            return HTMLResponse(frame.trouble(str(error)), 500)
        return RedirectResponse(done, 303) if done.startswith("/") else HTMLResponse(done)

    return await to_thread.run_sync(do)


def _is_ours(request: Request, given: str) -> bool:
    """Whether a form was made by this server and sent from its own page."""
    word: str = request.app.state.form_token
    if not hmac.compare_digest(given.encode(), word.encode()):
        return False
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


async def _not_found(request: Request, error: Any) -> Response:
    return HTMLResponse(frame.trouble("There is no such page."), 404)


class _Guard(BaseHTTPMiddleware):
    """Who asks, under which name, and what a browser may do with the answer."""

    def __init__(self, app: Any, token: str | None, hosts: frozenset[str], is_fixed: bool) -> None:
        super().__init__(app)
        self._token, self._hosts = token, hosts
        self._methods = ("GET", "HEAD") if is_fixed else ("GET", "HEAD", "POST")

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response = self._refusal(request)
        if response is None:
            response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    def _refusal(self, request: Request) -> Response | None:
        name = request.headers.get("host", "")
        if _without_port(name) not in self._hosts:
            return PlainTextResponse("unknown host name; start with --host NAME to allow it\n", 421)
        if request.method not in self._methods:
            return PlainTextResponse("nothing here can be changed\n", 405)
        if self._token is None:
            return None
        given = request.query_params.get("token") if request.method == "GET" else None
        if given is not None and hmac.compare_digest(given.encode(), self._token.encode()):
            answer = RedirectResponse(str(request.url.remove_query_params("token")), 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict")
            return answer
        known = request.cookies.get(COOKIE, "")
        if hmac.compare_digest(known.encode(), self._token.encode()):
            return None
        return PlainTextResponse("open the address that evocliff ui printed, token and all\n", 403)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def is_this_machine(host: str) -> bool:
    """Whether binding to it keeps others out.

    >>> is_this_machine("127.0.0.1"), is_this_machine("localhost"), is_this_machine("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
