"""`evocliff search`: run a search, watch it, stop it, resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_EPILOG = """Examples:

  evocliff search examples/quickstart.yaml

  evocliff search my.yaml --set budget.evaluations=2000 --set seed=1

  evocliff search --resume quickstart            (after Ctrl-C, a crash or kill -9)
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(search)


def search(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of the run; not needed with --resume.")
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(
            "--db", envvar="EVOCLIFF_DB", help="Database URL; default: the config's store."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; default: the config's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one config value."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run that was interrupted.")
    ] = None,
    address: Annotated[
        str, typer.Option(help="Ray: local (starts one), auto, HOST:PORT or ray://HOST:PORT.")
    ] = "local",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, estimate the cost, start nothing.")
    ] = False,
    tokens_per_s: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-s",
            metavar="X",
            help="With --dry-run: what one replica generates; default: as former runs measured.",
        ),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON at the end.")
    ] = False,
) -> None:
    """Search for harmless prompts that the target refuses.

    Ctrl-C finishes what is in flight, saves, and says how to resume; a second one leaves at once.
    """
    from evo import api
    from evo.cli import estimate, live
    from evo.config import load
    from workers import cluster
    from workers.errors import ConfigError

    changes = list(set_ or [])
    if resume is not None:
        if name is not None:
            raise ConfigError("--name: a resumed run keeps its name")
        url = db or (load(config, changes).store if config else "sqlite:///evocliff.db")
        chosen, claim = api.stored_config(url, resume, changes), resume
        seeds = chosen.seeds.path
        if seeds is not None and cluster.inside_a_job() and not Path(seeds).exists():
            raise ConfigError(
                f"seeds.path: {seeds} was not shipped with this job; name the run's config file "
                f"too: evocliff submit CONFIG --resume {resume}"
            )
    else:
        if config is None:
            raise ConfigError(
                "name a config file (evocliff search examples/quickstart.yaml) or --resume RUN"
            )
        if name is not None:
            changes.append(f"name={name}")
        chosen, claim = load(config, changes), None
        url = db or chosen.store
    if tokens_per_s is not None and not tokens_per_s > 0:
        raise ConfigError(f"--tokens-per-s {tokens_per_s}: a rate is greater than 0")
    if dry_run:
        estimate.show(chosen, url, tokens_per_s)
        return
    with live.view(quiet=json_) as watch:
        run = api.search(chosen, store=url, address=address, resume=claim, watch=watch)
    live.conclude(run, url, as_json=json_)
