"""The pages as a Starlette application, and who may ask for them.

It binds to this machine alone unless told otherwise, and then wants a token. Requests under another host
name are refused (DNS rebinding); nothing is changed by any request.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

import db
from db.store import Store
from evo.ui import pages
from workers.interface import ConfigError, EvocliffError

COOKIE = "evocliff_token"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
Show = Callable[[Store, Request], str]


def build(url: str, token: str | None = None, hosts: frozenset[str] = frozenset()) -> Starlette:
    """The application over the database at `url`.

    Args:
        token: wanted of every request (once as ?token=, then as a cookie); None: of none.
        hosts: names, beside those of this machine, under which it may be asked.
    """
    routes = [
        Route("/", partial(_answer, url=url, show=pages.runs)),
        Route("/compare", partial(_answer, url=url, show=pages.compare)),
        Route("/run/{run}", partial(_answer, url=url, show=pages.run)),
        Route("/prompts", partial(_answer, url=url, show=pages.prompts)),
        Route("/prompt/{prompt}", partial(_answer, url=url, show=pages.prompt)),
    ]
    guard = Middleware(_Guard, token=token, hosts=_LOCAL_NAMES | hosts)
    return Starlette(routes=routes, middleware=[guard], exception_handlers={404: _not_found})


async def _answer(request: Request, url: str, show: Show) -> Response:
    """One page, read in a thread by a connection that cannot write."""
    from anyio import to_thread

    def read() -> Response:
        try:
            with contextlib.closing(db.open(url, read_only=True)) as store:
                return HTMLResponse(show(store, request))
        except ConfigError as error:
            return HTMLResponse(pages.trouble(str(error)), 400)
        except EvocliffError as error:
            return HTMLResponse(pages.trouble(str(error)), 500)

    return await to_thread.run_sync(read)


async def _not_found(request: Request, error: Any) -> Response:
    return HTMLResponse(pages.trouble("There is no such page."), 404)


class _Guard(BaseHTTPMiddleware):
    """Who asks, under which name, and what a browser may do with the answer."""

    def __init__(self, app: Any, token: str | None, hosts: frozenset[str]) -> None:
        super().__init__(app)
        self._token, self._hosts = token, hosts

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
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("nothing here can be changed\n", 405)
        if self._token is None:
            return None
        given = request.query_params.get("token")
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
