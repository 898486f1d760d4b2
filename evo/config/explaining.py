"""What is wrong with a configuration, in one line that names the key and the nearest known one."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ValidationError,
)

from evo.config.hosts import TAGS


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """The first problem of a validation error of `root` in one line, unknown keys first."""
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = problems[0]
    path = [part for part in first["loc"] if part not in TAGS]
    place = ".".join(str(part) for part in path)
    if first["type"] == "extra_forbidden":
        known = _keys_at(root, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key '{place}'; {hint}"
    if first["type"] == "missing":
        return f"'{place}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool | None) else ""
    return f"{place or 'config'}: {message[0].lower()}{message[1:]}{shown}"


def _keys_at(root: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that the section at `path` knows."""
    section = root
    for part in path:
        if part not in section.model_fields:  # the name of a block
            break
        found = _section_in(section.model_fields[str(part)].annotation)
        if found is None:
            break
        section = found
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section class inside an annotation such as `EngineConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated, dict):
        for argument in typing.get_args(annotation):
            found = _section_in(argument)
            if found is not None:
                return found
    return None
