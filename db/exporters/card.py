"""The README.md of an exported dataset: what it is, how it was made, whom to credit.

Says nothing that changes from one export of the same rows to the next: no time, no path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import yaml

from db.exporters.eligible import Eligible, Selected
from db.exporters.formats import Format

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
_HUB_LICENCES = {
    "CC-BY-4.0": "cc-by-4.0",
    "CC0-1.0": "cc0-1.0",
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
}
_XSTEST = (
    "Seeds from XSTest (P. Röttger, H. R. Kirk, B. Vidgen, G. Attanasio, F. Bianchi, D. Hovy: "
    "XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language Models, "
    "NAACL 2024; https://github.com/paul-rottger/xstest), licensed CC BY 4.0. The prompts here are "
    "derived from them and were changed."
)


def card(
    formats: Sequence[Format],
    data_files: Mapping[str, str],
    n_rows: Mapping[str, int],
    left_out: Mapping[str, int],
    selected: Selected,
    sha256: Mapping[str, str],
    content_sha256: str,
) -> str:
    """The whole file.

    Args:
        data_files, n_rows, left_out: by format name.
        sha256: by path inside the folder.
    """
    rows = selected.eligible
    models = sorted({e.target.model for e in rows})
    parts = [
        f"# {_title(models)}",
        "Harmless prompts that a language model refuses to answer, found by evolutionary search with "
        "evocliff. They are meant for measuring over-refusal and for repairing it.",
        _formats(formats, n_rows, left_out),
        _how(rows, selected),
        _table("Targets", ("target", "model", "revision", "conditions"), _targets(rows)),
        _table("Judges and safety gates", ("part", "name and version"), _parts(rows)),
        _table("Strategies", ("strategy", "prompts"), _counts(e.found.strategy for e in rows)),
        _table("Topics", ("topic", "prompts"), _counts(e.found.topic or "none" for e in rows)),
        _limits(rows),
        _licences(rows),
        _table("Content", ("file", "sha256"), sorted(sha256.items())),
        f"sha256 of the rows: `{content_sha256}`",
    ]
    header = yaml.safe_dump(
        _header(formats, data_files, n_rows, models, rows),
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    return f"---\n{header}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _header(
    formats: Sequence[Format],
    data_files: Mapping[str, str],
    n_rows: Mapping[str, int],
    models: Sequence[str],
    rows: Sequence[Eligible],
) -> dict[str, object]:
    licences = {e.seed.licence for e in rows}
    known = _HUB_LICENCES.get(next(iter(licences)) or "") if len(licences) == 1 else None
    configs: list[dict[str, object]] = [
        {
            "config_name": f.name,
            "data_files": [{"split": f.split, "path": data_files[f.name]}],
        }
        for f in formats
    ]
    configs[0]["default"] = True
    return {
        "license": known or "other",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "size_categories": [_size(max(n_rows.values()))],
        "tags": ["over-refusal", "alignment", "synthetic", "evocliff"],
        "pretty_name": _title(models),
        "configs": configs,
    }


def _title(models: Sequence[str]) -> str:
    return f"Over-refusals of {', '.join(' '.join(m.split()) for m in models)}"


def _size(n: int) -> str:
    return next((name for limit, name in _SIZES if n < limit), "n>1M")


def _formats(
    formats: Sequence[Format], n_rows: Mapping[str, int], left_out: Mapping[str, int]
) -> str:
    lines = [
        (f.name, f.split, n_rows[f.name], f.what, _left(f, left_out.get(f.name, 0)))
        for f in formats
    ]
    return _table("Configs", ("config", "split", "rows", "what", "left out"), lines)


def _left(f: Format, n: int) -> str:
    return f"{n} prompts without {f.needs}" if n else "none"


def _how(rows: Sequence[Eligible], selected: Selected) -> str:
    thresholds = ", ".join(sorted({f"{e.found.run.threshold:g}" for e in rows}))
    runs = ", ".join(sorted({f"{e.found.run.name} ({e.found.run.run_id})" for e in rows}))
    return "\n".join(
        [
            "## How it was made",
            "",
            f"Runs: {_plain(runs)}. Over-refusal means a refusal rate of {thresholds} or more over "
            "sampled responses; the Wilson interval is in every row. "
            f"The lowest refusal rate here is {min(e.score.refusal_rate for e in rows):.3f}.",
            "",
            f"Evaluated prompts that matched: {selected.matched}. Left out: {selected.seeds} seeds; "
            f"{selected.not_harmless} that some safety gate did not call harmless; {selected.below} "
            f"refused too seldom; {selected.merged} repetitions; {selected.beyond_limit} beyond the "
            "limit that was asked for.",
        ]
    )


def _targets(rows: Sequence[Eligible]) -> list[tuple[object, ...]]:
    targets = {e.target.target_id: e.target for e in rows}
    lines: list[tuple[object, ...]] = []
    for target_id, t in sorted(targets.items()):
        conditions = [f"temperature {t.temperature:g}", f"top_p {t.top_p:g}"]
        conditions.append(f"at most {t.max_tokens} tokens")
        conditions.append("no system prompt" if t.system_prompt is None else "with a system prompt")
        if t.adapter is not None:
            conditions.append(f"adapter {t.adapter}")
        lines.append((target_id, t.model, t.revision, ", ".join(conditions)))
    return lines


def _parts(rows: Sequence[Eligible]) -> list[tuple[str, str]]:
    judges = {("judge", judge) for e in rows for judge in e.judges}
    gates = {("safety gate", gate.rpartition(":")[0]) for e in rows for gate in e.gates}
    return [*sorted(judges), *sorted(gates)]


def _counts(values: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))


def _limits(rows: Sequence[Eligible]) -> str:
    cut = sum(e.answer is not None and e.answer.finish_reason == "length" for e in rows)
    return "\n".join(
        [
            "## Limits",
            "",
            "Judges and gates are automatic and can err; every row names them. Responses are the "
            "target's own, unedited: they are not checked for being right or complete"
            + (f", and {cut} of the answers end at the token limit." if cut else "."),
        ]
    )


def _licences(rows: Sequence[Eligible]) -> str:
    counts = Counter((e.seed.source or "unknown", e.seed.licence or "not stated") for e in rows)
    lines = [
        (source, licence, n)
        for (source, licence), n in sorted(counts.items(), key=lambda pair: pair[0])
    ]
    table = _table("Licences of the seeds", ("source", "licence", "prompts"), lines)
    notes = [
        "Each row names the source and licence of the seed that it descends from; the licence of the "
        "target may bind what is done with its responses."
    ]
    if any(e.seed.source == "xstest-safe" for e in rows):
        notes.insert(0, _XSTEST)
    return "\n\n".join([table, *notes])


def _table(title: str, heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    if not lines:
        return ""
    drawn = [heads, ["---"] * len(heads), *lines]
    return f"## {title}\n\n" + "\n".join(
        "| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in drawn
    )


def _plain(text: str) -> str:
    """Text of others in one line of a table, without Markdown or HTML of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
