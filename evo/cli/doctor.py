"""`evocliff doctor`: does everything that a search needs work here? Asked before, not at hour three."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

_DISTRIBUTIONS = ("torch", "transformers", "ray", "sentence-transformers", "sqlalchemy", "vllm")
_LOW_DISK_GIB = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `status` is ok, warning or broken; `mend` says what to do."""

    check: str
    status: str
    found: str
    mend: str = ""


def register(app: typer.Typer) -> None:
    app.command(epilog="Examples:\n\n  evocliff doctor\n\n  evocliff doctor --json")(doctor)


def doctor(
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL to look at.")
    ] = "sqlite:///evocliff.db",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check Python, packages, devices, Ray, models, disk and database. Exit 1 when one is broken."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _packages,
        _device,
        _memory,
        _disk,
        _models,
        lambda: _database(db),
        _ray,
    ]
    findings = []
    for check in checks:
        finding = check()
        findings.append(finding)
        if not json_:
            line = f"{finding.status:<8} {finding.check:<10} {finding.found}"
            typer.echo(line + (f"  -> {finding.mend}" if finding.mend else ""))
    if json_:
        typer.echo(json.dumps([asdict(f) for f in findings]))
    if any(f.status == "broken" for f in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", version)


def _packages() -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    found, missing = [], []
    for name in _DISTRIBUTIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            if name != "vllm":
                missing.append(name)
    if missing:
        return Finding(
            "packages",
            "broken",
            f"missing: {', '.join(missing)}",
            "pip install -c constraints.txt .",
        )
    return Finding("packages", "ok", ", ".join(found))


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("device", "ok", f"{len(names)} GPU: {', '.join(names)}")
    from workers.engines.device import pick_dtype

    dtype = str(pick_dtype("auto", torch.device("cpu"))).removeprefix("torch.")
    return Finding("device", "ok", f"CPU, {os.cpu_count()} cores, {dtype}; no GPU")


def _memory() -> Finding:
    import psutil

    gib = psutil.virtual_memory().available / 2**30
    if gib < 3:
        return Finding(
            "memory", "warning", f"{gib:.1f} GiB free", "a local search takes about 3 GiB"
        )
    return Finding("memory", "ok", f"{gib:.1f} GiB free")


def _disk() -> Finding:
    gib = shutil.disk_usage(".").free / 2**30
    if gib < _LOW_DISK_GIB:
        return Finding(
            "disk", "warning", f"{gib:.1f} GiB free here", "a large run stores gigabytes"
        )
    return Finding("disk", "ok", f"{gib:.1f} GiB free here")


def _models() -> Finding:
    from workers import local_models

    missing = [name for name in local_models.describe() if not local_models.prepared(name)]
    if missing:
        return Finding(
            "models",
            "warning",
            f"not prepared: {', '.join(missing)}",
            "evocliff models prepare all",
        )
    return Finding("models", "ok", "all prepared")


def _database(url: str) -> Finding:
    import db
    from workers.errors import StoreError

    if url.startswith("sqlite:///") and not os.path.exists(url.removeprefix("sqlite:///")):
        return Finding("database", "ok", f"{url} does not exist yet; the first search makes it")
    try:
        db.open(url, read_only=True).close()
    except StoreError as error:
        return Finding("database", "broken", url, str(error))
    return Finding("database", "ok", url)


def _ray() -> Finding:
    from workers import cluster
    from workers.errors import EvocliffError

    began = time.monotonic()
    try:
        with cluster.connect("local"):
            cores = cluster.available_cpus()
    except (EvocliffError, RuntimeError, OSError) as error:
        first_line = str(error).splitlines()[0]
        return Finding("ray", "broken", first_line, "is another Ray or a firewall in the way?")
    return Finding(
        "ray", "ok", f"local start and stop in {time.monotonic() - began:.1f} s, {cores} cores"
    )
