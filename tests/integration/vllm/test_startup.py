"""A vLLM that cannot start says why in one line, before anything was paid for, and leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from workers import engines
from workers.engines.vllm import VllmEngine
from workers.interface import ConfigError

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    before = set(psutil.Process().children(recursive=True))
    yield
    started = set(psutil.Process().children(recursive=True)) - before
    _, left = psutil.wait_procs([p for p in started if not _pythons_own(p)], timeout=10)
    assert not left


def _pythons_own(process: psutil.Process) -> bool:
    """The resource tracker, one for the whole process, which ends with it."""
    try:
        return "resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:  # it ends just now
        return False


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "smolm2"}, r"'smolm2' is neither .*smollm2-overcautious"),
        ({"device": "cuda"}, "'cuda' was asked for and this vllm is built for cpu"),
        ({"dtype": "bfloat61"}, "'bfloat61' is not one of bfloat16"),
        ({"kv_cache_gib": 1e5}, r"does not fit: 0\.25 GiB of weights and 100000\.00 GiB of KV"),
        ({"context_tokens": 10**6}, r"max_model_len .*; lower vllm\.context_tokens"),
        ({"adapter": "no/such-adapter/here"}, r"target\.adapter: 'no/such-adapter/here'"),
        ({"sleep_mode": True}, "[Ss]leep mode"),
    ],
    ids=["model", "device", "dtype", "memory", "context", "adapter", "sleep"],
)
def test_what_cannot_be_is_said_in_one_line(settings: dict[str, Any], said: str) -> None:
    asked = {"model": "local:smollm2", "kv_cache_gib": 1.0, **settings}
    with pytest.raises(ConfigError, match=said) as error:
        VllmEngine(**asked)
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        VllmEngine(str(tmp_path))


def test_what_goes_wrong_in_the_engines_own_process_is_said_too() -> None:
    with pytest.raises(ConfigError, match=r"KV cache.*raise vllm\.kv_cache_gib") as error:
        engines.build("vllm", model="local:smollm2", kv_cache_gib=0.01, threads=2)
    assert len(str(error.value).splitlines()) == 1
