"""What every page shares: its frame, its sections, and forms that this server alone can have made."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from evo.report import look
from evo.report.look import text

TOKEN = "form_token"  # noqa: S105 - the name of a field
_NAV = '<nav><a href="/">runs</a> <a href="/prompts">prompts</a>{more}</nav>'


def page(title: str, body: str, request: Request | None = None, script: str = "") -> str:
    """A whole page; where the server takes changes, with the way to a new search."""
    takes = request is not None and takes_changes(request)
    more = ' <a href="/search">new search</a>' if takes else ""
    return look.page(title, _NAV.format(more=more) + body, script, forms=True)


def reread(seconds: int) -> str:
    """The script of a page that changes by itself. (A meta refresh cannot be held off by a reader.)"""
    return f"setInterval(() => {{ if (!document.hidden) location.reload(); }}, {1000 * seconds});\n"


def number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else text(value)


def takes_changes(request: Request) -> bool:
    """Whether this server changes anything."""
    return request.app.state.folder is not None


def form(request: Request, action: str, body: str, shape: str = "") -> str:
    """A form that changes something; it holds the word that other sites cannot know."""
    word = request.app.state.form_token
    return (
        f'<form method="post" action="{text(action)}"{f" class={shape}" if shape else ""}>'
        f'<input type="hidden" name="{TOKEN}" value="{text(word)}">{body}</form>'
    )


def hidden(name: str, value: object) -> str:
    return f'<input type="hidden" name="{text(name)}" value="{text(value, 20_000)}">'


def trouble(message: str) -> str:
    """What went wrong, in one line."""
    return page("evocliff", f"<section><h2>That did not work</h2><p>{text(message)}</p></section>")
