"""PHTest (An et al., COLM 2024): pseudo-harmful prompts, labelled harmless or controversial."""

from __future__ import annotations

from db.importers.formats import Format

FORMAT = Format(
    name="phtest",
    prompt=("Request",),
    label="Harmfulness",
    key="ID",
    licence="MIT",
    recognises=lambda columns: {"Request", "Harmfulness"} <= set(columns),
    source=lambda path, columns: "phtest",
)
