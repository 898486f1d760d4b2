"""`--dry-run`: what a run would cost at the most, from its config and what former runs measured."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from evo.budget import most_proposals
from evo.config import Config

if TYPE_CHECKING:
    from db.throughput import Measured


def show(config: Config, url: str, tokens_per_s: float | None = None) -> None:
    """Check every name, load the seeds, print the plan. Starts and writes nothing.

    Args:
        tokens_per_s: generated tokens per second of one replica, where the user knows them.
    """
    import yaml

    from db.connection import shown_url
    from evo import seeds, wiring

    wiring.check(config)
    loaded = seeds.load(config.seeds, config.seed)
    typer.echo(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    samples, targets = config.search.samples, config.every_target.values()
    tokens = sum(target.sampling.max_tokens for target in targets)
    budget = config.budget
    typer.echo(f"# seeds: {len(loaded)}")
    typer.echo(f"# store: {shown_url(url)}")
    for target in targets:
        least, most = target.least_replicas, target.most_replicas
        replicas = str(least) if least == most else f"{least} to {most}"
        typer.echo(f"# replicas: {replicas} of {target.model}")
    if budget.evaluations is not None:
        # A minimum over targets may be known from the first one alone.
        asked = 1 if config.search.fitness_over == "min" else len(targets)
        low = budget.evaluations * samples.first * asked
        high = budget.evaluations * samples.max
        typer.echo(
            f"# target samples: {low} to {high * len(targets)}; "
            f"target tokens: at most {high * tokens}"
        )
        if len(loaded) >= budget.evaluations:
            typer.echo(
                f"# warning: {len(loaded)} seeds use up the budget of {budget.evaluations} "
                "evaluations; set seeds.limit"
            )
        typer.echo(f"# proposals: at most {most_proposals(budget)}")
        if price := sum(t.price.completion * t.sampling.max_tokens for t in targets):
            typer.echo(f"# target answers: at most {high * price / 1e6:.2f} USD")
    if budget.money is not None:
        typer.echo(f"# USD: {budget.money:.2f} and what is in flight then")
    if budget.target_tokens is not None:
        typer.echo(f"# target tokens: {budget.target_tokens} and what is in flight then")
    typer.echo(f"# time: {_time(config, url, tokens_per_s)}")


def most_tokens(config: Config) -> int | None:
    """The most target tokens that the budget allows; None when only time or luck ends the run."""
    budget, samples = config.budget, config.search.samples
    limits = []
    if budget.evaluations is not None:
        tokens = sum(target.sampling.max_tokens for target in config.every_target.values())
        limits.append(budget.evaluations * samples.max * tokens)
    if budget.target_tokens is not None:
        limits.append(budget.target_tokens)
    return min(limits, default=None)


def _time(config: Config, url: str, stated: float | None) -> str:
    tokens, wall_clock = most_tokens(config), config.budget.wall_clock
    limit = "" if wall_clock is None else f"; the budget ends it after {duration(wall_clock)}"
    if tokens is None:
        return (limit or "; it ends when nothing new is found (budget.stall)").removeprefix("; ")
    if stated is not None:
        rate, origin = stated, "as stated"
    else:
        found = None if config.targets else _measured(config, url)
        if found is None:
            return (
                "unknown: no run of this target is in the store, so nothing has been measured; "
                f"--tokens-per-s states a rate{limit}"
            )
        rate, origin = found.tokens_per_s, f"measured in run '{found.run}'"
    replicas = sum(target.least_replicas for target in config.every_target.values())
    at_most = duration(tokens / (rate * replicas))
    return (
        f"at most {at_most} after the models have loaded, at {rate:.0f} tokens/s for each of "
        f"{replicas} replicas ({origin}){limit}"
    )


def _measured(config: Config, url: str) -> Measured | None:
    """What the store knows of this target; nothing where there is no store yet."""
    import db
    from db import throughput
    from workers.errors import StoreError

    try:
        with contextlib.closing(db.open(url, read_only=True)) as store:
            return throughput.measured(store, config.target.model_dump(mode="json"))
    except StoreError:  # absent, or to be upgraded: the search itself will say
        return None


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(50), duration(600), duration(9000), duration(300000)
    ('50 s', '10 min', '2.5 h', '3.5 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
