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
from db.exporters.eligible import Eligible, Reads
from db.exporters.formats import Columns, Config, Table, answered, contrasted, schema

_TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
Turn = dict[str, str]
INFO = "dataset_info.json"


def _turn(who: str, value: str) -> Turn:
    return {"from": who, "value": value}


def _asked(e: Eligible) -> list[Turn]:
    system = e.target.system_prompt
    first = [] if system is None else [_turn("system", system)]
    return [*first, _turn("human", e.prompt)]


def _sft(prompts: Sequence[Eligible]) -> Table:
    kept = answered(prompts)
    columns: Columns = {
        "conversations": [[*_asked(e), _turn("gpt", answer.text)] for e, answer in kept],
        "sample": [answer.sample for _, answer in kept],
    }
    return Table([e for e, _ in kept], columns)


def _dpo(prompts: Sequence[Eligible]) -> Table:
    kept = contrasted(prompts)
    columns: Columns = {
        "conversations": [_asked(e) for e, _, _ in kept],
        "chosen": [_turn("gpt", answer.text) for _, answer, _ in kept],
        "rejected": [_turn("gpt", refusal.text) for _, _, refusal in kept],
        **dpo.sides(prompts),
    }
    return Table([e for e, _, _ in kept], columns)


SFT = Config(
    name="sharegpt-sft",
    split="train",
    schema=schema(("conversations", pa.list_(_TURN)), ("sample", pa.int32())),
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
        columns: Columns = {"messages": "conversations"}
        if name == DPO.name:
            entry["ranking"] = True
            columns |= {"chosen": "chosen", "rejected": "rejected"}
        entries[key] = entry | {"columns": columns}
    return json.dumps(entries, indent=2) + "\n" if entries else None
