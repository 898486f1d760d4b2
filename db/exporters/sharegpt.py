"""ShareGPT rows for LLaMA-Factory, for SFT and for preferences (the form of EvoRefuse-ALIGN), and the
entries of dataset_info.json that its reader looks them up by.

Its converter drops ordinary rows with an odd number of turns after the system prompt, and ranking rows
with an even number: ours are prompt and answer, and the prompt alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from db.exporters import dpo
from db.exporters.columns import Columns, Turns
from db.exporters.eligible import Prompts, Reads
from db.exporters.formats import Config, Table, answered, contrasted, schema
from db.exporters.responses import Response

_TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
_KEYS = ("from", "value")
INFO = "dataset_info.json"


def _asked(prompts: Prompts, *said: tuple[str, Sequence[str]]) -> Turns:
    system = [target.system_prompt for target in prompts.target]
    return Turns(_KEYS, (("human", prompts.prompt), *said), ("system", system))


def _one(responses: Sequence[Response]) -> Turns:
    return Turns(_KEYS, (("gpt", [each.text for each in responses]),), is_one=True)


def _sft(prompts: Prompts) -> Table:
    places, kept, answers = answered(prompts)
    columns: Columns = {
        "conversations": _asked(kept, ("gpt", [answer.text for answer in answers])),
        "sample": [answer.sample for answer in answers],
        "writer": [answer.writer for answer in answers],
    }
    return Table(places, columns)


def _dpo(prompts: Prompts) -> Table:
    places, kept, answers, refusals = contrasted(prompts)
    columns: Columns = {
        "conversations": _asked(kept),
        "chosen": _one(answers),
        "rejected": _one(refusals),
        **dpo.sides(answers, refusals),
    }
    return Table(places, columns)


SFT = Config(
    name="sharegpt-sft",
    split="train",
    schema=schema(
        ("conversations", pa.list_(_TURN)), ("sample", pa.int32()), ("writer", pa.string())
    ),
    own=_sft,
    needs="a sampled response that is not a refusal",
    what="as sft, in ShareGPT's form",
    reads=frozenset({Reads.RESPONSES}),
)
DPO = Config(
    name="sharegpt-dpo",
    split="train",
    schema=schema(
        ("conversations", pa.list_(_TURN)), ("chosen", _TURN), ("rejected", _TURN), *dpo.SIDES
    ),
    own=_dpo,
    needs=dpo.NEEDS,
    what="as dpo, in ShareGPT's form (that of EvoRefuse-ALIGN)",
    reads=frozenset({Reads.RESPONSES}),
)


def dataset_info(files: Mapping[tuple[str, str], str]) -> str | None:
    """The file that LLaMA-Factory looks datasets up in; None where there is nothing for it.

    Args:
        files: path of the JSONL inside the folder, by config and split.
    """
    entries = {}
    for (name, split), path in files.items():
        if name not in (SFT.name, DPO.name):
            continue
        alone = sum(config == name for config, _ in files) == 1
        key = f"evocliff-{name}" if alone else f"evocliff-{name}-{split}"
        entry: dict[str, object] = {"file_name": path, "formatting": "sharegpt"}
        columns = {"messages": "conversations"}
        if name == DPO.name:
            entry["ranking"] = True
            columns |= {"chosen": "chosen", "rejected": "rejected"}
        entries[key] = entry | {"columns": columns}
    return json.dumps(entries, indent=2) + "\n" if entries else None
