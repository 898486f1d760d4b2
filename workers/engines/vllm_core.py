"""Starting vLLM's core: its processes, and its log for as long as it may fail. Knows no request."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from workers.engines import vllm_startup
from workers.engines.vllm_environment import variables
from workers.interface import ConfigError


def start(
    model: str,
    settings: Mapping[str, Any],
    run: Callable[[Coroutine[Any, Any, Any]], Any],
    *,
    captured: bool,
) -> Any:
    """An AsyncLLM on the loop that `run` runs things on. `captured`: its log goes to a file until it
    runs.

    Raises:
        ConfigError: vLLM refuses to start; the message says why and what to mend.
    """

    async def begin() -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))

    with tempfile.TemporaryDirectory(prefix="evocliff-vllm-") as folder:
        log, config = Path(folder, "log.txt"), Path(folder, "logging.json")
        vllm_startup.log_to(log, config)
        logged = {"VLLM_LOGGING_CONFIG_PATH": str(config)} if captured else {}
        try:
            with variables(logged):
                return run(begin())
        except Exception as error:
            # Whatever vLLM cannot start with was asked for by the config.
            written = log.read_text(encoding="utf-8") if log.exists() else ""
            cause = vllm_startup.root_cause(written) or vllm_startup.one_line(str(error))
            raise ConfigError(
                f"target.model: vllm cannot start with '{model}': {cause}; "
                f"{vllm_startup.mend(cause)}"
            ) from error
