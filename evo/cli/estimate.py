"""`--dry-run`: what a run would cost at the most, from its config and what former runs measured."""

from __future__ import annotations

import contextlib
import math
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
    from evo import wiring

    wiring.check(config)
    loaded = wiring.seeds(config, url)
    typer.echo(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    targets, budget = list(config.every_target.values()), config.budget
    typer.echo(f"# seeds: {len(loaded)}")
    typer.echo(f"# store: {shown_url(url)}")
    for target in targets:
        least, most = target.least_replicas, target.most_replicas
        replicas = str(least) if least == most else f"{least} to {most}"
        typer.echo(f"# replicas: {replicas} of {target.model}")
    if budget.evaluations is not None:
        for line in _samples(config, budget.evaluations):
            typer.echo(f"# {line}")
        if len(loaded) >= budget.evaluations:
            typer.echo(
                f"# warning: {len(loaded)} seeds use up the budget of {budget.evaluations} "
                "evaluations; set seeds.limit"
            )
        typer.echo(f"# proposals: at most {most_proposals(budget)}")
        high = budget.evaluations * config.search.samples.max
        if price := sum(t.price.completion * t.sampling.max_tokens for t in targets):
            typer.echo(f"# target answers: at most {high * price / 1e6:.2f} USD")
    if budget.money is not None:
        typer.echo(f"# USD: {budget.money:.2f} and what is in flight then")
    if budget.target_tokens is not None:
        typer.echo(f"# target tokens: {budget.target_tokens} and what is in flight then")
    typer.echo(f"# time: {_time(config, url, tokens_per_s)}")


def _samples(config: Config, evaluations: int) -> list[str]:
    """What so many evaluations take from the target, at least and at most."""
    search, targets = config.search, config.every_target.values()
    least, most = least_samples(config, evaluations), evaluations * search.samples.max
    first = search.samples.first if search.racing else search.samples.max
    each = f"{first} of each prompt"
    if first < search.samples.max:
        each += f", up to {search.samples.max} while it is in doubt"
    if len(targets) > 1:
        asked = "until one answers" if search.fitness_over == "min" else "all"
        each += f", of {len(targets)} targets ({asked})"
    lines = [
        f"target samples: at least {least} (fewer where the store has them already), at most "
        f"{most * len(targets)}: {each}"
    ]
    tokens = most * sum(target.sampling.max_tokens for target in targets)
    line = f"target tokens: at most {tokens}"
    if openings := most_openings(config):
        line += f", and one for each of at most {openings} openings"
    lines.append(line)
    if search.screening.predictor or most_openings(config):
        lines.append(
            "screening: what looks hopeless is not sampled and counts as no evaluation; how much of "
            "it there is shows in the run"
        )
    return lines


def least_samples(config: Config, evaluations: int) -> int:
    """The fewest samples that so many evaluations are scored by, stored ones included.

    A prompt has the first samples; one that is completed later is an evaluation more, of at least one
    sample more. A minimum over targets may be known from the first target alone.
    """
    search = config.search
    samples = search.samples
    first = samples.first if search.racing else samples.max
    completed = math.ceil(search.settle * evaluations) if first < samples.max else 0
    asked = 1 if search.fitness_over == "min" else len(config.every_target)
    return ((evaluations - completed) * first + completed) * asked


def most_openings(config: Config) -> int:
    """First tokens that may be asked for beside the samples: one for each proposal. 0 where the
    opening does not screen; an engine that cannot tell takes none either."""
    if config.targets or not config.search.screening.opening:
        return 0
    return most_proposals(config.budget)


def _most_by_target(config: Config) -> list[int] | None:
    """Tokens of each target, by the budget of evaluations."""
    evaluations = config.budget.evaluations
    if evaluations is None:
        return None
    samples = evaluations * config.search.samples.max
    return [
        samples * target.sampling.max_tokens + most_openings(config)
        for target in config.every_target.values()
    ]


def most_seconds(config: Config, tokens_per_s: float) -> float | None:
    """How long the target's work may take, at `tokens_per_s` for each replica; None where the budget
    bounds neither evaluations nor tokens. Several targets work
    side by side, so the slowest decides; for their minimum one waits for the other."""
    targets = config.every_target.values()
    limits = []
    by_target = _most_by_target(config)
    if by_target is not None:
        each = [
            tokens / (tokens_per_s * target.least_replicas)
            for tokens, target in zip(by_target, targets, strict=True)
        ]
        limits.append(sum(each) if config.search.fitness_over == "min" else max(each))
    if config.budget.target_tokens is not None:
        fewest = min(target.least_replicas for target in targets)
        limits.append(config.budget.target_tokens / (tokens_per_s * fewest))
    return min(limits, default=None)


def _time(config: Config, url: str, stated: float | None) -> str:
    wall_clock = config.budget.wall_clock
    limit = "" if wall_clock is None else f"; the budget ends it after {duration(wall_clock)}"
    if most_seconds(config, 1.0) is None:
        return (limit or "; it ends when nothing new is found (budget.stall)").removeprefix("; ")
    if stated is not None:
        rate, origin = stated, "as stated"
    elif config.targets:
        return (
            "unknown: runs of several targets are not measured apart; --tokens-per-s states a rate "
            f"for each replica{limit}"
        )
    else:
        found = _measured(config, url)
        if found is None:
            return (
                "unknown: no run of this target is in the store, so nothing has been measured; "
                f"--tokens-per-s states a rate{limit}"
            )
        rate, origin = found.tokens_per_s, f"measured in run '{found.run}'"
    seconds = most_seconds(config, rate)
    assert seconds is not None  # noqa: S101 - there is a limit of tokens
    replicas = ", ".join(str(t.least_replicas) for t in config.every_target.values())
    of = f" ({replicas})" if config.targets else ""
    count = sum(target.least_replicas for target in config.every_target.values())
    return (
        f"at most {duration(seconds)} after the models have loaded, at {rate:.0f} tokens/s for each of "
        f"{count} replicas{of} ({origin}){limit}"
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
