"""docs/config.md names every key of the config with its default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from evo.config import Config, EngineConfig

PAGE = Path(__file__).parents[2] / "docs/config.md"


def documented() -> dict[str, str]:
    rows = re.findall(r"^\| `([\w.]+)` \|(.*?)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {key: default.strip(" `") for key, default in rows}


def shown(value: object) -> str:
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return str(value)


def defined(section: type[BaseModel], prefix: str = "") -> dict[str, str]:
    keys = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys |= defined(kind, f"{prefix}{name}.")
        else:
            keys[prefix + name] = shown(field.get_default(call_default_factory=True))
    return keys


def test_every_key_is_documented_with_its_default() -> None:
    assert documented() == defined(Config)


def test_the_proposers_engine_has_the_keys_that_the_page_promises() -> None:
    target = {k.removeprefix("target.") for k in documented() if k.startswith("target.")}
    assert set(defined(EngineConfig)) == target - {"system_prompt", "first_token"}
