"""`--dry-run`: what a run would cost at the most, from its config alone."""

from __future__ import annotations

import typer

from evo.budget import most_proposals
from evo.config import Config


def show(config: Config, url: str) -> None:
    """Check every name, load the seeds, print the plan. Starts and writes nothing."""
    import yaml

    from evo import seeds, wiring

    wiring.check(config)
    loaded = seeds.load(config.seeds, config.seed)
    typer.echo(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    samples, tokens = config.search.samples, config.target.sampling.max_tokens
    budget = config.budget
    typer.echo(f"# seeds: {len(loaded)}")
    typer.echo(f"# store: {url}")
    least, most = config.target.least_replicas, config.target.most_replicas
    replicas = str(least) if least == most else f"{least} to {most}"
    typer.echo(f"# replicas: {replicas} of {config.target.model}")
    if budget.evaluations is not None:
        low = budget.evaluations * samples.first
        high = budget.evaluations * samples.max
        typer.echo(f"# target samples: {low} to {high}; target tokens: at most {high * tokens}")
        if len(loaded) >= budget.evaluations:
            typer.echo(
                f"# warning: {len(loaded)} seeds use up the budget of {budget.evaluations} "
                "evaluations; set seeds.limit"
            )
        typer.echo(f"# proposals: at most {most_proposals(budget)}")
    if budget.target_tokens is not None:
        typer.echo(f"# target tokens: {budget.target_tokens} and what is in flight then")
