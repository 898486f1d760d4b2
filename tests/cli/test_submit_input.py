"""What `submit` sends, and what it refuses before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from evo import jobs
from evo.cli import app
from evo.config import Config, validate
from fitness.cliff import probe as probes
from fitness.safety import latent_guard
from fitness.safety.latent_guard import Guard
from tests.evo.test_tracing import a_probe, saved
from tests.fitness.test_latent_guard import fitted
from workers.interface import ConfigError
from workers.jobs import JobServer

STORE = "sqlite:////data/evocliff.db"


class Recorded:
    """A job server that keeps what it was sent."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.files: dict[str, str] = {}
        self.about: Mapping[str, str] = {}
        self.probe: str | None = None
        self.guards: dict[str, Guard] = {}

    def submit(
        self, words: Sequence[str], *, folder: Path, slug: str, about: Mapping[str, str]
    ) -> str:
        self.words, self.about = list(words), about
        files = [path for path in folder.iterdir() if path.is_file()]
        self.guards = {p.name: latent_guard.load(p) for p in files if p.suffix == ".npz"}
        self.files = {path.name: path.read_text() for path in files if path.suffix != ".npz"}
        shipped = [probes.read(path) for path in folder.iterdir() if path.is_dir()]
        self.probe = shipped[0].version if shipped else None
        return f"{slug}-1"


@pytest.fixture
def server() -> Recorded:
    return Recorded()


def config(tmp_path: Path, **changes: object) -> Config:
    seeds = tmp_path / "my seeds.jsonl"
    seeds.write_text('{"prompt": "How do I kill a process?"}\n')
    raw = {
        "name": "n; rm -rf ~",
        "seeds": {"path": str(seeds)},
        "target": {"model": "/models/on/the/nodes"},
        "budget": {"evaluations": 4},
    }
    return validate(raw | changes)


def send(server: Recorded, *arguments: object, **options: object) -> str:
    return jobs.submit(cast(JobServer, server), *arguments, **options)  # type: ignore[arg-type]


def test_the_config_travels_as_data_with_its_seeds_and_nothing_else(
    server: Recorded, tmp_path: Path
) -> None:
    send(server, config(tmp_path), store=STORE)
    assert server.words == [
        *("python", "-m", "evo.cli", "search", "job.yaml"),
        *("--address", "auto", "--db", STORE),
    ]
    sent = json.loads(server.files.pop("job.yaml"))
    ((name, text),) = server.files.items()
    assert text == '{"prompt": "How do I kill a process?"}\n'
    assert sent["seeds"]["path"] == name
    assert validate(sent).name == "n; rm -rf ~"  # in the file, not on the command line
    assert server.about == {"run": "n; rm -rf ~", "store": STORE}


def test_a_resumed_run_finds_its_seeds_under_the_same_name(
    server: Recorded, tmp_path: Path
) -> None:
    send(server, config(tmp_path), store=STORE)
    first = set(server.files)
    send(server, config(tmp_path), store=STORE, resume="run 1", overrides=["budget.evaluations=9"])
    assert set(server.files) == first
    assert server.words[4:8] == ["--resume", "run 1", "--set", "budget.evaluations=9"]
    send(server, None, store=STORE, resume="run 1")
    assert json.loads(server.files["job.yaml"]) == {}


def test_the_probe_of_a_run_travels_under_its_hash(server: Recorded, tmp_path: Path) -> None:
    probe = saved(tmp_path / "probe", a_probe())
    changes = {"search": {"fitness": "cliff", "probe": probe}}
    send(server, config(tmp_path, **changes), store=STORE)
    sent = json.loads(server.files["job.yaml"])["search"]
    assert sent["probe"] == f"probe-{a_probe().version}"
    assert server.probe == a_probe().version
    send(server, config(tmp_path, **changes), store=STORE, resume="run 1")
    assert server.probe == a_probe().version
    gone = {"search": {"fitness": "cliff", "probe": "gone"}}
    with pytest.raises(ConfigError, match="holds no probe"):
        send(server, config(tmp_path, **gone), store=STORE)


def test_the_configs_store_is_taken_when_it_names_one(server: Recorded, tmp_path: Path) -> None:
    send(server, config(tmp_path, store=STORE))
    assert server.words[-1] == STORE


def test_a_password_in_the_configs_own_store_is_not_sent(server: Recorded, tmp_path: Path) -> None:
    send(server, config(tmp_path, store="postgresql://me:geheim@host/db"), store=STORE)
    assert "geheim" not in " ".join([*server.words, *server.files.values()])


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (None, "--db: name the store as the head node sees it"),
        ("sqlite:///evocliff.db", "which Ray removes"),
        ("sqlite:///:memory:", "which Ray removes"),
        ("postgresql://me:geheim@host/db", "set PGPASSWORD"),
        ("postgresql+psycopg://me:geheim@host/db", "set PGPASSWORD"),
        ("mysql://host/db", "only sqlite and postgresql"),
        ("nonsense", "not a database URL"),
    ],
)
def test_a_store_that_a_job_cannot_use_is_refused(
    server: Recorded, tmp_path: Path, store: str | None, said: str
) -> None:
    with pytest.raises(Exception, match=said) as caught:
        send(server, config(tmp_path), store=store)
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]
    assert "geheim" not in str(caught.value)
    assert not server.words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judges": ["embeded"]}, "embedded"),
        ({"seeds": {"path": "absent.jsonl"}}, "absent.jsonl"),
        ({"search": {"algorithm": "steady"}}, "steady-state"),
    ],
)
def test_names_and_seeds_are_looked_up_here_and_models_there(
    server: Recorded, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        send(server, config(tmp_path, **changes), store=STORE)
    assert not server.words


def test_neither_config_nor_run_is_bad_input(server: Recorded) -> None:
    with pytest.raises(ConfigError, match="name a config file, or --resume RUN"):
        send(server, None, store=STORE)


def test_a_latent_guard_travels_under_a_name_of_its_own(server: Recorded, tmp_path: Path) -> None:
    guard = fitted()
    latent_guard.save(guard, tmp_path / "mine.npz")
    named = f"latent-guard:{tmp_path}/mine.npz"
    guarded = config(
        tmp_path, safety=["seed-contrast", f"{named}@big"], engines={"big": {"model": "/big"}}
    )
    send(server, guarded, store=STORE)
    sent = json.loads(server.files["job.yaml"])
    shipped = f"guard-{guard.version}.npz"
    assert sent["safety"] == ["seed-contrast", f"latent-guard:{shipped}@big"]
    assert server.guards[shipped].version == guard.version
    with pytest.raises(ConfigError, match="there is no file"):
        send(server, config(tmp_path, safety=["latent-guard:none.npz"]), store=STORE)


def test_a_repair_goes_with_the_options_that_were_given_and_its_files(
    server: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = tmp_path / "my harmful.jsonl"
    keep.write_text('{"prompt": "How do I kill him?", "refusal": "No."}\n')
    monkeypatch.setattr("workers.jobs.JobServer", lambda address: server)
    server.address = "http://head:8265"  # type: ignore[attr-defined]
    done = CliRunner().invoke(
        app,
        [
            *("mitigate", "--target", "/models/m", "--run", "r; rm -rf ~", "--epochs", "2"),
            *("--keep", str(keep), "--resume", "--address", "http://head:8265"),
            *("--db", STORE, "--out", "/data/repaired", "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"job": "repaired-1", "address": "http://head:8265"}
    assert server.words[:4] == ["python", "-m", "evo.cli", "mitigate"]
    told = server.words[4:]
    assert told[-8:] == [
        *("--out", "/data/repaired", "--keep", "keep.jsonl"),
        *("--address", "auto", "--db", STORE),
    ]
    assert sorted(told[:-8]) == sorted(
        ["--target", "/models/m", "--run", "r; rm -rf ~", "--epochs", "2.0", "--resume"]
    )
    assert server.files == {"keep.jsonl": keep.read_text()}


@pytest.mark.parametrize(
    ("out", "store", "data", "said"),
    [
        ("out/a", STORE, None, "write a path on the head node"),
        ("/data/a", "sqlite:///here.db", None, "this file would lie in the job's own folder"),
        ("/data/a", "postgresql://u:secret@h/d", None, "leave the password out"),
        ("/data/a", STORE, "none.csv", "--data none.csv: No such file"),
    ],
)
def test_a_repair_that_cannot_be_sent_says_why(
    out: str, store: str, data: str | None, said: str, server: Recorded
) -> None:
    files = {"--data": None if data is None else Path(data)}
    with pytest.raises(ConfigError, match=said) as caught:
        jobs.mitigate(cast(JobServer, server), [], out=Path(out), store=store, files=files)
    assert "secret" not in str(caught.value)
    assert server.words == []
