"""What a model's own files say, read before vLLM loads it: tokenizer, dtype, size, adapter, endings.

What does not fit or cannot be loaded is a ConfigError with the key of the config. Starts nothing.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from workers import local_models
from workers.engines import vllm_platform, vllm_startup
from workers.interface import ConfigError


def read_tokenizer(name: str, where: Path | str) -> Any:
    """The tokenizer of an instruct model.

    Raises:
        ConfigError: it cannot be loaded, or has no chat template.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError) as error:
        said = vllm_startup.one_line(str(error))
        raise ConfigError(f"target.model: '{name}' cannot be loaded: {said}") from error
    if tokenizer.chat_template is None:
        raise ConfigError(f"target.model: '{name}' has no chat template; name an instruct model")
    return tokenizer


def pick_dtype(dtype: str, on_cpu: bool) -> str:
    """The name of the dtype to load in, as vLLM takes it."""
    import torch

    from workers.engines import device

    if dtype == "auto" and not on_cpu:
        return dtype  # asking CUDA here would take memory of the GPU for this process
    return str(device.pick_dtype(dtype, torch.device("cpu"))).removeprefix("torch.")


def require_room(
    model: str,
    where: Path | str,
    dtype: str,
    on_cpu: bool,
    cache: int | None,
    memory_share: float,
    pieces: int,
) -> None:
    """Say before loading that the memory is too small, where the size of the weights is known.

    Args:
        cache: bytes of the KV cache; None where vLLM sizes it by what is left.
        pieces: that the weights are cut into, one for each GPU.

    Raises:
        ConfigError: weights and cache are more than what is free.
    """
    weights = vllm_startup.weights_bytes(where, dtype) if isinstance(where, Path) else None
    if weights is None:
        return
    if not on_cpu:
        weights //= pieces
    free, place = vllm_platform.memory(on_cpu, memory_share)
    vllm_startup.require_room(model, weights=weights, cache=cache or 0, free=free, where=place)


def lora_rank(adapter: str) -> int:
    """The smallest rank that vLLM has kernels for and that holds the adapter's.

    Raises:
        ConfigError: the adapter does not exist, has tokens of its own, or its rank is too large.
    """
    from typing import get_args

    from peft import PeftConfig
    from vllm.config.lora import MaxLoRARanks

    try:
        settings = PeftConfig.from_pretrained(adapter)
        rank = int(getattr(settings, "r", 0))
    except (OSError, ValueError) as error:
        said = vllm_startup.one_line(str(error))
        raise ConfigError(f"target.adapter: '{adapter}' cannot be loaded: {said}") from error
    if getattr(settings, "trainable_token_indices", None):
        raise ConfigError(
            f"target.adapter: '{adapter}' has trained tokens of its own, which vllm does not load; take "
            "engine transformers, or merge it into a model first"
        )
    fitting = [known for known in get_args(MaxLoRARanks) if known >= rank]
    if not rank or not fitting:
        raise ConfigError(
            f"target.adapter: '{adapter}' has the LoRA rank {rank}; vllm takes 1 to "
            f"{max(get_args(MaxLoRARanks))}"
        )
    return int(min(fitting))


def generation_config(where: Path | str, hf_config: Any) -> Any:
    """What the model says of how it ends; its own config where it ships no generation config."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(where)
    except OSError:
        return GenerationConfig.from_model_config(hf_config)


def revision(where: Path | str, hf_config: Any) -> str:
    """What tells these weights from others of the same name."""
    if isinstance(where, Path):
        return local_models.revision(where)
    return str(getattr(hf_config, "_commit_hash", None) or "unknown")
