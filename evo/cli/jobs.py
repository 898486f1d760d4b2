"""`evocliff submit`, `status`, `logs`, `stop`: searches as jobs of a running Ray cluster."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from workers.jobs import Job, JobServer

_SUBMIT = """Examples:

  evocliff submit my.yaml --address http://localhost:8265 --db sqlite:////home/ray/evocliff.db --follow

  evocliff submit my.yaml --resume my-model --db sqlite:////home/ray/evocliff.db    (after stop, or a lost node)
"""
_STATUS = """Examples:

  evocliff status                        (all jobs)

  evocliff status my-model-3f9c12 --json
"""
_LOGS = """Examples:

  evocliff logs my-model-3f9c12

  evocliff logs my-model-3f9c12 --follow
"""
_STOP = """Example:

  evocliff stop my-model-3f9c12          (saves; `evocliff submit --resume` goes on)
"""

Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        help="The cluster's job server, http://HOST:8265.",
    ),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="As `submit` printed it.")]
Follow = Annotated[bool, typer.Option("--follow", help="Print what the job prints until it ends.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_HERE = "http://localhost:8265"


def register(app: typer.Typer) -> None:
    app.command(epilog=_SUBMIT)(submit)
    app.command(epilog=_STATUS)(status)
    app.command(epilog=_LOGS)(logs)
    app.command(epilog=_STOP)(stop)


def submit(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML file of the run; with --resume only for its seed file, probe and guards."
        ),
    ] = None,
    address: Address = _HERE,
    db: Annotated[
        str | None,
        typer.Option("--db", help="Database URL as the head node sees it; no password in it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; default: the config's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one config value."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")
    ] = None,
    follow: Follow = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the job's id as JSON.")] = False,
) -> None:
    """Run a search on a running Ray cluster; it goes on when this command ends.

    With --follow: exit 0 when the search is done, 1 when it failed or was stopped, 2 when its input
    was bad. Ctrl-C leaves the job running.
    """
    from evo import jobs
    from evo.config import load
    from workers.errors import ConfigError
    from workers.jobs import JobServer

    changes = list(set_ or [])
    if follow and json_:
        raise ConfigError("--follow and --json: choose one")
    if resume is not None and name is not None:
        raise ConfigError("--name: a resumed run keeps its name")
    if name is not None:
        changes.append(f"name={name}")
    loaded = None if config is None else load(config, changes if resume is None else [])
    server = JobServer(address)
    job = jobs.submit(server, loaded, store=db, resume=resume, overrides=changes)
    if json_:
        typer.echo(json.dumps({"job": job, "address": server.address}))
    else:
        typer.echo(f"submitted {job}")
        if not follow:
            hint("look", "logs", job, server, "--follow")
            hint("stop", "stop", job, server)
    if follow:
        _follow(server, job)


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="As `submit` printed it; default: all.")
    ] = None,
    address: Address = _HERE,
    json_: Json = False,
) -> None:
    """How jobs are doing."""
    from workers.jobs import JobServer

    server = JobServer(address)
    if job is None:
        _show([_row(found) for found in server.jobs()], json_)
    elif json_:
        typer.echo(json.dumps(_row(server.job(job))))
    else:
        from evo.cli.records import visible

        for key, value in _row(server.job(job)).items():
            typer.echo(
                f"{key.replace('_', ' '):<12}{'-' if value is None else visible(str(value))}"
            )


def logs(
    job: JobName, address: Address = _HERE, follow: Follow = False, json_: Json = False
) -> None:
    """What a job has printed. With --follow the exit status is the job's, as with `submit`."""
    from workers.errors import ConfigError
    from workers.jobs import JobServer

    if follow and json_:
        raise ConfigError("--follow and --json: choose one")
    server = JobServer(address)
    if follow:
        _follow(server, job)
    elif json_:
        typer.echo(json.dumps({"job": job, "logs": server.logs(job)}))
    else:
        _write(server.logs(job))


def stop(job: JobName, address: Address = _HERE, json_: Json = False) -> None:
    """End a job in order: it finishes what is in flight, saves, and can be resumed."""
    from workers.jobs import STOP_WAIT_S, JobServer

    server = JobServer(address)
    was_running = server.stop(job)
    found = server.job(job)
    if json_:
        typer.echo(json.dumps({"job": job, "was_running": was_running, "status": found.status}))
        return
    if was_running:
        typer.echo(f"{job} finishes what is in flight and saves (at most {STOP_WAIT_S} s)")
        hint("look", "status", job, server)
        hint("then", "logs", job, server)
        typer.echo("the last lines of its log say how to go on with the run")
    else:
        typer.echo(f"{job} had ended: {found.status}")


def _follow(server: JobServer, job: str) -> None:
    try:
        ended = server.follow(job, _write)
    except KeyboardInterrupt:
        typer.echo(f"\n{job} goes on", err=True)
        hint("look", "logs", job, server, "--follow", err=True)
        hint("stop", "stop", job, server, err=True)
        raise typer.Exit(130) from None  # as a shell has it: what follows with && must not run
    if ended.status == "SUCCEEDED":
        return
    if ended.status == "STOPPED":
        typer.echo(f"{job} was stopped; its log says how to go on with the run", err=True)
        raise typer.Exit(1)
    if ended.exit_code is None:  # its command never ran, or its node was lost
        from evo.cli.records import visible

        typer.echo(f"{job} failed: {visible(' '.join(ended.message.split()))}", err=True)
    raise typer.Exit(2 if ended.exit_code == 2 else 1)


def hint(label: str, verb: str, job: str, server: JobServer, *more: str, err: bool = False) -> None:
    words = ["evocliff", verb, job, *more, "--address", server.address]
    typer.echo(f"{label}:  {shlex.join(words)}", err=err)


def _write(text: str) -> None:
    """What a job printed, unable to do anything to the terminal."""
    from evo.cli.records import visible

    typer.echo(visible(text, keep="\n\t"), nl=False)


def _row(job: Job) -> dict[str, Any]:
    row = asdict(job)
    about = row.pop("about")
    return row | {"run": about.get("run"), "store": about.get("store")}


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from evo.cli.records import table

    table(rows, ("job", "status", "run", "started", "ended"), empty="no jobs yet")
