"""Loads a causal model and its tokenizer: what the transformers engine and the white box stand on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers import chat, local_models
from workers.engines import freed_memory
from workers.engines.device import pick_device, pick_dtype
from workers.interface import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in evaluation mode on its device. `eos` ends a turn; `pad` fills rows; no more than
    `context_tokens` fit. `revision` tells these weights from others."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    eos: frozenset[int]
    pad: int
    context_tokens: int
    revision: str

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"


def load(name: str, *, dtype: str, device: str, adapter: str | None) -> Loaded:
    """The model called `name`: a `local:` name, a folder or a Hugging Face id.

    Args:
        dtype: "auto" (bfloat16 where the device computes in it, else float32), or its name.
        device: "auto", "cpu" or "cuda".
        adapter: a LoRA to merge in.

    Raises:
        ConfigError: the model does not exist, has no chat template, or the device is absent.
    """
    place = pick_device(device)
    if place.type == "cpu":
        freed_memory.keep()
    precision = pick_dtype(dtype, place)
    where = local_models.resolve(name)
    tokenizer, model = _load(name, where, adapter, precision, place)
    if tokenizer.chat_template is None:
        raise ConfigError(f"target.model: '{name}' has no chat template; name an instruct model")
    eos = chat.end_ids(tokenizer, model.generation_config)
    pad = tokenizer.pad_token_id
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=place,
        dtype=precision,
        eos=eos,
        pad=min(eos) if pad is None else pad,
        context_tokens=int(model.config.get_text_config().max_position_embeddings),
        revision=_revision(where, model),
    )


def _load(
    name: str, where: Path | str, adapter: str | None, dtype: torch.dtype, device: torch.device
) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    from workers.engines import decode_attention

    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            where, dtype=dtype, trust_remote_code=False, use_safetensors=True
        )
        if device.type == "cpu" and model.config._attn_implementation == "sdpa":
            model.set_attn_implementation(decode_attention.install())
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ConfigError(f"target.model: '{name}' cannot be loaded: {first_line}") from error
    if adapter is not None:
        from peft import PeftModel

        tokenizer = _adapter_tokenizer(adapter, tokenizer)
        widen(model, tokenizer)
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return tokenizer, model.to(device).eval()


def widen(model: Any, tokenizer: Any) -> None:
    """Rows for the tokens that the tokenizer has beyond the model's vocabulary."""
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)


def _adapter_tokenizer(adapter: str, own: Any) -> Any:
    """The tokenizer in the adapter's folder where it has tokens that the model's own lacks."""
    from transformers import AutoTokenizer

    folder = Path(adapter).expanduser()
    if not (folder / "tokenizer_config.json").is_file():
        return own
    other = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return other if len(other) > len(own) else own


def _revision(where: Path | str, model: Any) -> str:
    if isinstance(where, Path):
        return local_models.revision(where)
    return str(getattr(model.config, "_commit_hash", None) or "unknown")
