"""Searches started, stopped and gone on with from the page: each is the command of that name, in a process
of its own that outlives the page. Configs come from one folder, logs go into another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request

import db
from db import holder, queries
from db.store import Store
from evo.config import load
from evo.report.look import text
from evo.ui.exporting import named
from evo.ui.frame import form, hidden, page, reread, takes_changes
from workers.interface import ConfigError

_TAIL = 16_384  # bytes of a log that its page shows
_REREAD_S = 3


def configs(folder: Path) -> list[str]:
    """The YAML files in the folder, by name."""
    found = [*folder.glob("*.yaml"), *folder.glob("*.yml")]
    return sorted(path.name for path in found if path.is_file() and not path.is_symlink())


def show(store: Store, request: Request) -> str:
    """The form for a new search."""
    folder: Path = request.app.state.configs
    known = configs(folder)
    if not known:
        return page(
            "New search",
            f"<section><h2>New search</h2><p>There is no config (.yaml) in {text(folder)}; start with "
            "<code>evocliff ui --configs FOLDER</code>.</p></section>",
            request,
        )
    options = "".join(f"<option>{text(name, 200)}</option>" for name in known)
    return page(
        "New search",
        "<section><h2>New search</h2>"
        + form(
            request,
            "/search",
            f'<label>config<select name="config">{options}</select></label>'
            '<label>name of the run<input name="name" required pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" '
            'maxlength="80"></label><label>evaluations at most<input name="evaluations" type="number" min="1" '
            'placeholder="as the config says"></label><div class="tick"><button>Start</button></div>',
            "fields",
        )
        + f'<p class="faint">Configs lie in {text(folder)}. A search goes on when this page is closed.</p>'
        "</section>",
        request,
    )


def start(url: str, request: Request, fields: Mapping[str, str]) -> str:
    """Start a search; where its log is shown."""
    folder: Path = request.app.state.configs
    config = fields.get("config", "")
    if config not in configs(folder):
        raise ConfigError(f"config '{config[:80]}' is not in {folder}")
    name = named(fields.get("name", ""))
    changes = [f"name={name}"]
    evaluations = fields.get("evaluations", "").strip()
    if evaluations:
        if not evaluations.isdecimal():
            raise ConfigError(f"evaluations: '{evaluations[:20]}' is no number")
        changes.append(f"budget.evaluations={evaluations}")
    load(folder / config, changes)  # what is wrong is said here, not in a log
    if _is_known(url, name):
        raise ConfigError(f"name '{name}': a run has it already")
    words = [config, *(word for change in changes for word in ("--set", change))]
    return _run(request, name, words, folder)


def resume(url: str, request: Request, fields: Mapping[str, str]) -> str:
    """Go on with a run that was stopped."""
    run_id, name = _found(url, fields.get("run", ""))
    folder: Path = request.app.state.configs
    return _run(request, name, ["--resume", run_id], folder)


def stop(url: str, request: Request, fields: Mapping[str, str]) -> str:
    """Ask the search's process to end in order, as Ctrl-C does; where its run is shown."""
    run_id, name = _found(url, fields.get("run", ""))
    with contextlib.closing(db.open(url, read_only=True)) as store:
        pid = holder.process_here(store, run_id)
    if pid is None:
        raise ConfigError(f"run '{name}': no process of this machine works on it")
    os.kill(pid, signal.SIGINT)
    return f"/run/{quote(run_id)}"


def log(store: Store, request: Request) -> str:
    """The end of what a search that was started here has printed."""
    name = named(request.path_params["name"])
    path = _log(request, name)
    if not path.is_file():
        raise ConfigError(f"no search '{name}' was started from this page")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        said = file.read().decode("utf-8", "replace")
    known = [r for r in queries.runs(store) if r["name"] == name]
    link = (
        f'<p><a href="/run/{quote(known[0]["run"])}">its page</a>, {text(known[0]["status"])}</p>'
        if known
        else "<p>It is starting.</p>"
    )
    body = (
        f'<section><h2>{text(name)}</h2>{link}<pre class="text">{text(said, _TAIL)}</pre></section>'
    )
    running = not known or known[0]["status"] == "running"
    return page(name, body, request, reread(_REREAD_S) if running else "")


def controls(request: Request, store: Store, run: str, name: str, status: str) -> str:
    """The buttons of a run's page."""
    if not takes_changes(request):
        return ""
    if status == "running" and holder.process_here(store, run) is not None:
        return form(request, "/stop", hidden("run", run) + "<button>Stop</button>")
    if status in ("interrupted", "failed", "running"):
        return form(request, "/resume", hidden("run", run) + "<button>Go on</button>")
    return ""


def _found(url: str, run: str) -> tuple[str, str]:
    """Id and name of a run."""
    with contextlib.closing(db.open(url, read_only=True)) as store:
        return queries.named_run(store, run)


def _is_known(url: str, name: str) -> bool:
    with contextlib.closing(db.open(url, read_only=True)) as store:
        return any(row["name"] == name for row in queries.runs(store))


def _log(request: Request, name: str) -> Path:
    folder: Path = request.app.state.folder
    return folder / "searches" / f"{name}.log"


def _run(request: Request, name: str, words: Sequence[str], folder: Path) -> str:
    safe = named(name)
    path = _log(request, safe)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "evo.cli", "search", *words]
    with path.open("wb") as log_file:
        started = subprocess.Popen(  # noqa: S603 - our own command, words of known form
            command,
            cwd=folder,
            env={**os.environ, "EVOCLIFF_DB": request.app.state.absolute_url},
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # Asked now and then, so that one that has ended leaves no zombie behind.
    request.app.state.started = [p for p in request.app.state.started if p.poll() is None]
    request.app.state.started.append(started)
    return f"/searches/{quote(safe)}"
