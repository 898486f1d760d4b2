"""`evocliff ui`: the web page. A thin face of `evo.ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evo.cli import records

_EPILOG = """Examples:

  evocliff ui

  evocliff ui --db sqlite:///out/demo/demo.db --port 8001

  evocliff ui --configs examples --folder out/ui

  evocliff ui --host 0.0.0.0 --port 8001        (for others: prints the address with its token)
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(ui)


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to bind; anything but this machine needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EVOCLIFF_UI_TOKEN", help="Wanted of every request; default: a new one."
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A host name under which it may be asked; repeat it."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="No labels, exports and searches from the page.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where exports and the logs of searches go.")] = Path(
        "out/ui"
    ),
    configs: Annotated[
        Path, typer.Option(help="Folder of the configs (.yaml) that searches are started from.")
    ] = Path("."),
    db: records.Db = records.DEFAULT_DB,
) -> None:
    """Runs and prompts in a browser: a running search live, prompts by every filter, and what is behind each
    of them; label by keyboard, export a query, start and stop searches. Ctrl-C ends it.
    """
    import socket
    from secrets import token_urlsafe

    from workers.errors import ConfigError

    try:
        import uvicorn

        from evo.ui import app as application
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; pip install 'evocliff[ui]'") from None
    with records.reading(db):  # a database that cannot be read is said before anything starts
        pass
    wanted = token
    if wanted is None and not application.is_this_machine(host):
        wanted = token_urlsafe(24)
    names = frozenset({*(name or ()), *(() if host in ("0.0.0.0", "::") else (host,))})  # noqa: S104
    if not application.is_this_machine(host):
        names |= {socket.gethostname().lower(), *_addresses()}
    if not configs.is_dir():
        raise ConfigError(f"--configs {configs}: there is no such folder")
    made = application.build(
        db,
        wanted,
        names,
        folder=None if read_only else folder.absolute(),
        configs=configs.absolute(),
    )
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"--port {port}: cannot be bound on {host}: {error.strerror}; take another"
        ) from error
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    behind = f"/?token={wanted}" if wanted is not None else "/"
    typer.echo(
        f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{behind}   (Ctrl-C ends it)"
    )
    server = uvicorn.Server(uvicorn.Config(made, log_level="warning", access_log=False))
    server.run(sockets=[listening])


def _addresses() -> set[str]:
    """Of this machine."""
    import psutil

    return {a.address for each in psutil.net_if_addrs().values() for a in each if "." in a.address}
