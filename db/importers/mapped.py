"""Any other file: its columns as the user names them, else by the names that are usual."""

from __future__ import annotations

from db.importers.formats import Format

FORMAT = Format(
    name="columns",
    prompt=("prompt", "instruction"),
    label="label",
    category="category",
    recognises=lambda columns: True,
    source=lambda path, columns: path.stem,
)
