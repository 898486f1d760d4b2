"""A search, or a repair, as a job of a running cluster: what is shipped, and which command runs it there.

An edge. The driver is the job's command on the head node, so the store is what that
node reaches: PostgreSQL, or a SQLite file on its own disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evo import seeds, tracing, wiring
from evo.config import Config
from fitness import safety
from fitness.cliff import probe as probes
from fitness.safety import latent_guard
from workers.interface import ConfigError

if TYPE_CHECKING:
    from workers.jobs import JobServer

_CONFIG = "job.yaml"


def submit(
    server: JobServer,
    config: Config | None,
    *,
    store: str | None = None,
    resume: str | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """Start a search on a cluster; gives back the job's id.

    Args:
        config: the run, overrides applied. With `resume` only its seed file, probe and guards are
            used, and only a run that has one needs it.
        store: database URL as the head node sees it; default: the config's.
        resume: the run to go on with.
        overrides: `key=value` changes of a resumed run.

    Raises:
        ConfigError: bad input, known before anything is sent.
    """
    if store is None and config is not None and "store" in config.model_fields_set:
        store = config.store
    if resume is not None:
        name, what = resume, ["--resume", resume]
        for override in overrides:
            what += ["--set", override]
    elif config is not None:
        wiring.check_names(config)
        name, what = config.name, [_CONFIG]
    else:
        raise ConfigError("name a config file, or --resume RUN")
    url = _reachable(store)
    words = ["python", "-m", "evo.cli", "search", *what, "--address", "auto", "--db", url]
    with _folder(config, url) as folder:
        return server.submit(words, folder=folder, slug=name, about={"run": name, "store": url})


def mitigate(
    server: JobServer,
    options: Sequence[str],
    *,
    out: Path,
    store: str,
    files: Mapping[str, Path | None],
) -> str:
    """Start `evocliff mitigate` on a cluster; gives back the job's id. It trains on the head node.

    Args:
        options: of the command, but for those below.
        out: the adapter's folder on the head node.
        store: database URL as the head node sees it.
        files: option -> a file or a folder of this machine that goes along.

    Raises:
        ConfigError: bad input, known before anything is sent.
    """
    if not out.is_absolute():
        raise ConfigError(
            f"--out {out}: this folder would lie in the job's own, which Ray removes; write a path on "
            "the head node: /home/ray/repaired"
        )
    url = _reachable(store)
    words = ["python", "-m", "evo.cli", "mitigate", *options, "--out", str(out)]
    with tempfile.TemporaryDirectory(prefix="evocliff-job-") as made:
        for option, path in files.items():
            if path is None:
                continue
            shipped = option.strip("-") + path.suffix
            try:
                if path.is_dir():
                    shutil.copytree(path, Path(made) / shipped)
                else:
                    shutil.copyfile(path, Path(made) / shipped)
            except OSError as error:
                raise ConfigError(f"{option} {path}: {error.strerror or error}") from None
            words += [option, shipped]
        words += ["--address", "auto", "--db", url]
        about = {"run": out.name, "store": url}
        return server.submit(words, folder=Path(made), slug=out.name, about=about)


def _reachable(url: str | None) -> str:
    """The URL of the store, if a job may use it.

    Raises:
        ConfigError: none, a password in it, or a file that would go with the job's folder.
    """
    from sqlalchemy.engine import make_url

    from db.connection import parse, shown_url

    if url is None:
        raise ConfigError(
            "--db: name the store as the head node sees it, for example "
            "sqlite:////home/ray/evocliff.db (four slashes) or postgresql://USER@HOST/NAME"
        )
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        if not Path(str(parsed.database)).is_absolute():
            raise ConfigError(
                f"--db {url}: this file would lie in the job's own folder, which Ray removes; "
                "write a path on the head node: sqlite:////home/ray/evocliff.db (four slashes)"
            )
    elif make_url(url).password is not None:
        raise ConfigError(
            f"--db {shown_url(url)}: a job's command is shown to all who see the dashboard; leave "
            "the password out and set PGPASSWORD where the head's `ray start` runs"
        )
    return url


@contextlib.contextmanager
def _folder(config: Config | None, url: str) -> Iterator[Path]:
    """A folder with the config, its seed file, probe and guards, and nothing else, until it has been sent."""
    with tempfile.TemporaryDirectory(prefix="evocliff-job-") as made:
        folder = Path(made)
        # The URL of the job stands in the place of the config's own, which may hold a password.
        raw = {} if config is None else config.model_dump(mode="json") | {"store": url}
        if config is not None and config.seeds.store is None:
            seeds.load(config.seeds, config.seed)  # wrong ones are found here; a store lies there
        if config is not None and config.seeds.path is not None:
            source = Path(config.seeds.path)
            digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
            # The stored config names it, so a resumed run asks for the very same seeds.
            shipped = f"seeds-{digest}{source.suffix}"
            shutil.copyfile(source, folder / shipped)
            raw["seeds"]["path"] = shipped
        probe = None if config is None else tracing.probe_of(config)
        if probe is not None:  # the driver reads it on the head
            shipped = f"probe-{probe.version}"
            (folder / shipped).mkdir()
            probes.write(probe, folder / shipped)
            raw["search"]["probe"] = shipped
        if config is not None:
            raw["safety"] = [_shipped_gate(name, folder) for name in config.safety]
        (folder / _CONFIG).write_text(json.dumps(raw, indent=1), encoding="utf-8")
        yield folder


def _shipped_gate(name: str, folder: Path) -> str:
    """The name of a gate on the head; a latent guard's file goes along."""
    guarding = safety.guard_of(name)
    if guarding is None:
        return name
    file, model = guarding
    guard = latent_guard.load(file)
    shipped = f"guard-{guard.version}.npz"
    latent_guard.save(guard, folder / shipped)
    return f"{latent_guard.NAME}:{shipped}" + (f"@{model}" if model else "")
