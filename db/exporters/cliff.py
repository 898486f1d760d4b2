"""Refusal cliffs of harmless prompts (arXiv 2510.06036): what the target thought and said, and how the
refusal score ran over the thinking. A negative cliff rises at the end; of harmless prompts such inverse
cliffs are what `Cliff-as-a-Judge` mirrored would train on.
"""

from __future__ import annotations

import pyarrow as pa

from db.exporters.belongings import CliffRow
from db.exporters.columns import Columns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import Config, Table, schema
from db.traces import curve


def _own(prompts: Prompts) -> Table:
    kept = [(e, cliff) for e in prompts for cliff in e.cliffs]
    columns: Columns = {
        "instruction": [e.prompt for e, _ in kept],
        **{
            name: [cliff[place] for _, cliff in kept]
            for place, name in enumerate(CliffRow._fields)
            if name != "scores"
        },
        "scores": [curve(cliff.scores) for _, cliff in kept],
    }
    places = [place for place, cliffs in enumerate(prompts.cliffs) for _ in cliffs]
    return Table(places, columns)


CONFIG = Config(
    name="cliff",
    split="train",
    schema=schema(
        ("instruction", pa.string()),
        ("sample_index", pa.int32()),
        ("reasoning", pa.string()),
        ("response", pa.string()),
        ("probe", pa.string()),
        ("version", pa.string()),
        ("plateau", pa.float64()),
        ("plateau_top", pa.float64()),
        ("final", pa.float64()),
        ("cliff", pa.float64()),
        ("position", pa.int32()),
        ("n_tokens", pa.int32()),
        ("kind", pa.string()),
        ("scores", pa.list_(pa.float32())),
    ),
    own=_own,
    needs="a refusal cliff that was measured",
    what="thinking and response of the target, with the course of the refusal score",
    reads=frozenset({Reads.CLIFFS}),
    mend="no probe has traced these prompts yet",
)
