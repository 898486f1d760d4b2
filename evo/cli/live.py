"""What a person sees while a search runs: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from evo.cli import figures
from workers.status import ReplicaState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from evo.api import Run, Watched, Watcher
    from evo.run import Progress

_PLAIN_EVERY_S = 5.0
_REPLICAS_SHOWN = 8


class _Rates:
    """Tokens per second over the last half minute, and how long the rest will take."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int, int, float]] = []

    def note(self, watched: Watched) -> None:
        spent = watched.progress.spent
        now = time.monotonic()
        self._points.append((now, spent.target_tokens, spent.evaluations, spent.money_usd))
        while self._points[-1][0] - self._points[0][0] > 30 and len(self._points) > 2:
            self._points.pop(0)

    def tokens_per_s(self) -> float:
        (t0, n0, *_), (t1, n1, *_) = self._points[0], self._points[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0

    def seconds_left(self, watched: Watched) -> float | None:
        """By the budget that is nearest to its end at the present rate; None when unknown."""
        budget, spent = watched.config.budget, watched.progress.spent
        (t0, n0, e0, m0), (t1, n1, e1, m1) = self._points[0], self._points[-1]
        left = []
        if budget.wall_clock is not None:
            left.append(budget.wall_clock - spent.wall_s)
        for limit, now, before in (
            (budget.evaluations, e1, e0),
            (budget.target_tokens, n1, n0),
            (budget.money, m1, m0),
        ):
            if limit is not None and now > before:
                left.append((limit - now) * (t1 - t0) / (now - before))
        return max(0.0, min(left)) if left else None


@contextlib.contextmanager
def view(quiet: bool = False) -> Iterator[Watcher]:
    """A watcher to hand to `api.search`; the panel lives as long as the block."""
    if quiet:
        yield lambda watched: None
    elif sys.stdout.isatty():
        with _panel() as watch:
            yield watch
    else:
        yield _plain()


def _plain() -> Watcher:
    rates = _Rates()
    last = 0.0
    greeted = False

    def watch(watched: Watched) -> None:
        nonlocal last, greeted
        rates.note(watched)
        if not greeted:
            typer.echo(_greeting(watched))
            greeted = True
        if time.monotonic() - last >= _PLAIN_EVERY_S:
            last = time.monotonic()
            typer.echo(" | ".join(f"{k} {v}" for k, v in _figures(watched, rates)))

    return watch


@contextlib.contextmanager
def _panel() -> Iterator[Watcher]:
    from rich.console import Console
    from rich.live import Live

    rates = _Rates()
    console = Console()
    with Live(console=console, refresh_per_second=4, transient=False) as screen:
        screen.update("starting Ray and loading the models ...")

        def watch(watched: Watched) -> None:
            rates.note(watched)
            screen.update(_render(watched, rates))

        yield watch


def _render(watched: Watched, rates: _Rates) -> RenderableType:
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="dim")
    grid.add_column()
    for name, value in _figures(watched, rates, each=True):
        grid.add_row(name, value)
    share = _share_done(watched)
    if share is not None:
        grid.add_row("budget", ProgressBar(total=1.0, completed=share, width=40))
    title = f"{watched.name}" + (" (resumed)" if watched.resumed else "")
    hint = (
        "finishing what is in flight ..." if watched.progress.stopping else "Ctrl-C saves and stops"
    )
    return Panel(grid, title=title, subtitle=hint, expand=False)


def _figures(watched: Watched, rates: _Rates, *, each: bool = False) -> list[tuple[str, str]]:
    """What is shown; `each`: of every replica, too."""
    progress, budget = watched.progress, watched.config.budget
    spent, status = progress.spent, watched.pool.status()
    of = f"/{budget.evaluations}" if budget.evaluations else ""
    left = rates.seconds_left(watched)
    rejected = ", ".join(f"{kind} {n}" for kind, n in sorted(progress.rejected.items())) or "none"
    shown = [
        ("evaluations", f"{spent.evaluations}{of}"),
        ("over-refusals", str(progress.over_refusals)),
        ("best fitness", "-" if progress.best_fitness is None else f"{progress.best_fitness:.3f}"),
        ("tokens/s", f"{rates.tokens_per_s():.0f} ({_tokens(watched)})"),
        ("replicas busy", f"{status.mean_busy:.0%} of {len(status.busy)}"),
        *(_replica_figures(watched) if each else []),
        ("rejected", rejected),
        *_search_figures(watched, each=each),
        ("left", "-" if left is None else _minutes(left)),
    ]
    if _is_charged(watched):
        limit = f" of {budget.money:.2f}" if budget.money else ""
        shown.append(("USD", f"{spent.money_usd:.4f}{limit}"))
    if progress.unscored:
        shown.append(("unscored samples", str(progress.unscored)))
    if status.restarts:
        shown.append(("replica restarts", str(status.restarts)))
    if status.quarantined:
        shown.append(("quarantined", f"{status.quarantined} requests that killed replicas"))
    return shown


def _minutes(seconds: float) -> str:
    """Whole seconds, never sixty.

    >>> _minutes(599.7), _minutes(61.2)
    ('10 min 0 s', '1 min 1 s')
    """
    return "{} min {} s".format(*divmod(round(seconds), 60))


def _search_figures(watched: Watched, *, each: bool) -> list[tuple[str, str]]:
    """What the search makes of it; `each`: all that a panel has room for."""
    progress, search = watched.progress, watched.search
    if search is None:
        return []
    screening = watched.config.search.screening
    shown: list[tuple[str, str]] = []
    if screening.predictor or screening.opening:
        said = figures.screened(progress.screened, progress.blind, progress.looked_at)
        shown.append(("screened", said))
    prompts = progress.spent.evaluations - progress.resampled
    if prompts > 0:
        completed = f", {progress.resampled} completed" if progress.resampled else ""
        shown.append(("samples a prompt", f"{progress.samples / prompts:.1f}{completed}"))
    if (seen := search.diversity) is not None:
        shown.append(
            ("clusters", figures.diversity(seen.effective_clusters, seen.collapses, seen.collapsed))
        )
    if each:
        openers = search.screening.screen.openers
        if openers is not None:
            floor = openers.p_refusal(openers.floor) if math.isfinite(openers.floor) else None
            shown.append(("refusals begin", figures.openers(openers.tokens, floor)))
        shown.append(("best strategies", figures.best(_arms(progress))))
    return shown


def _arms(progress: Progress) -> list[dict[str, Any]]:
    return [
        {
            "operator": operator,
            "strategy": strategy.value,
            "proposals": n,
            "over_refusals": progress.hits[operator, strategy],
        }
        for (operator, strategy), n in progress.proposed.items()
    ]


def _tokens(watched: Watched) -> str:
    spent = watched.progress.spent
    return f"{spent.target_tokens} in all, {spent.prompt_tokens} of prompts"


def _is_charged(watched: Watched) -> bool:
    return bool(watched.config.budget.money or watched.progress.spent.money_usd)


def _replica_figures(watched: Watched) -> list[tuple[str, str]]:
    """A line for each replica, those that are in trouble first; as many as a screen takes."""
    replicas = [r for pool in watched.pools for r in pool.status().replicas]
    ordered = sorted(replicas, key=lambda r: r.state is ReplicaState.READY)
    lines = [
        (
            f"{r.pool} {r.number}",
            f"{r.state}, {r.tokens_per_s:.0f} tokens/s, {r.queue} held, {r.busy:.0%} busy"
            + (f", {r.restarts} restarts" if r.restarts else ""),
        )
        for r in ordered[:_REPLICAS_SHOWN]
    ]
    if len(ordered) > _REPLICAS_SHOWN:
        lines.append(("", f"and {len(ordered) - _REPLICAS_SHOWN} more"))
    return lines


def _share_done(watched: Watched) -> float | None:
    budget, spent = watched.config.budget, watched.progress.spent
    shares = [
        used / limit
        for used, limit in (
            (spent.evaluations, budget.evaluations),
            (spent.target_tokens, budget.target_tokens),
            (spent.wall_s, budget.wall_clock),
            (spent.money_usd, budget.money),
        )
        if limit
    ]
    return min(1.0, max(shares)) if shares else None


def _greeting(watched: Watched) -> str:
    verb = "resuming" if watched.resumed else "running"
    from workers import cluster

    how = "evocliff stop" if cluster.inside_a_job() else "Ctrl-C"
    return f"{verb} '{watched.name}' ({watched.run_id}); {how} saves and stops"


def conclude(run: Run, url: str, *, as_json: bool) -> None:
    """Say what was found, and what to do next."""
    from workers import cluster

    summary = run.summary()
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(
        f"{run.status}: {run.reason}. {summary['evaluations']} evaluations, "
        f"{summary['over_refusals']} over-refusals in {summary['clusters']} clusters, "
        f"{summary['target_tokens']} target tokens, "
        + (f"{summary['money_usd']:.4f} USD, " if summary["money_usd"] else "")
        + f"{summary['wall_s']:.0f} s."
    )
    db = ["--db", _url(url)]
    if run.status == "interrupted":
        verb = "submit" if cluster.inside_a_job() else "search"
        _next("go on", verb, "--resume", run.name, *db)
    _next("look", "query", "--run", run.name, "--min-refusal", "0.5", *db)
    _next(
        "export", "export", "--format", "test", "--run", run.name, "--out", f"out/{run.name}", *db
    )


def _next(label: str, *words: str) -> None:
    typer.echo(f"{label + ':':<9}{shlex.join(['evocliff', *words])}")


def _url(url: str) -> str:
    """The database URL as it may be shown: a password stays out."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    return url if parsed.password is None else parsed._replace(password=None).render_as_string()
