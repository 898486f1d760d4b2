"""The README.md of an exported dataset: what it is, how it was made, whom to credit.

Says nothing that changes from one export of the same rows to the next: no time, no path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import yaml
from sqlalchemy import Connection

from db.exporters import agreement, refusal_tokens
from db.exporters.eligible import Selected
from db.exporters.files import Written
from db.exporters.formats import Config
from db.exporters.plan import COSINE, Plan
from db.exporters.tally import Tally
from db.safety import HUMAN

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
    configs: Sequence[Config],
    written: Sequence[Written],
    left_out: Mapping[str, int],
    tally: Tally,
    selected: Selected,
    planned: Plan,
    digests: Mapping[str, str],
    content_sha256: str,
) -> str:
    """The whole file.

    Args:
        left_out: prompts by config name.
        digests: sha256 by path inside the folder.
    """
    models = sorted({t.model for t in tally.targets.values()})
    parts = [
        f"# {_title(models)}",
        "Harmless prompts that a language model refuses to answer, found by evolutionary search with "
        "evocliff. They are meant for measuring over-refusal and for repairing it.",
        _configs(configs, written, left_out),
        _tokens(configs, tally),
        _how(tally, selected),
        _split(planned, tally),
        _contamination(planned),
        _table("Targets", ("target", "model", "revision", "conditions"), _targets(tally)),
        _parts(tally, selected.connection),
        _table("Strategies", ("strategy", "prompts"), _ranked(tally.strategies)),
        _table(
            "Topics",
            ("topic", "prompts"),
            [(topic or "none", n) for topic, n in _ranked(tally.topics)],
        ),
        _limits(tally),
        _licences(tally),
        _table("Content", ("file", "sha256"), sorted(digests.items())),
        f"sha256 of the rows: `{content_sha256}`",
    ]
    header = yaml.safe_dump(
        _header(configs, written, models, tally),
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    return f"---\n{header}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _header(
    configs: Sequence[Config], written: Sequence[Written], models: Sequence[str], tally: Tally
) -> dict[str, object]:
    licences = {licence for _, licence in tally.licences}
    known = _HUB_LICENCES.get(next(iter(licences))) if len(licences) == 1 else None
    listed: list[dict[str, object]] = [
        {
            "config_name": c.name,
            "data_files": [
                {"split": w.split, "path": w.parquet} for w in written if w.config == c.name
            ],
        }
        for c in configs
    ]
    listed[0]["default"] = True
    largest = max(sum(w.rows for w in written if w.config == c.name) for c in configs)
    return {
        "license": known or "other",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "size_categories": [_size(largest)],
        "tags": ["over-refusal", "alignment", "synthetic", "evocliff"],
        "pretty_name": _title(models),
        "configs": listed,
    }


def _title(models: Sequence[str]) -> str:
    return f"Over-refusals of {', '.join(' '.join(m.split()) for m in models)}"


def _size(n: int) -> str:
    return next((name for limit, name in _SIZES if n < limit), "n>1M")


def _configs(
    configs: Sequence[Config], written: Sequence[Written], left_out: Mapping[str, int]
) -> str:
    what = {c.name: c for c in configs}
    lines = [
        (
            w.config,
            w.split,
            w.rows,
            what[w.config].what,
            _left(what[w.config], left_out.get(w.config, 0)),
        )
        for w in written
    ]
    return _table("Configs", ("config", "split", "rows", "what", "left out"), lines)


def _left(c: Config, n: int) -> str:
    return f"{n} prompts without {c.needs}" if n else "none"


def _tokens(configs: Sequence[Config], tally: Tally) -> str:
    """The tokens that a tokenizer needs for the configs that use some."""
    names = {c.name for c in configs}
    tokens: set[str] = set()
    if refusal_tokens.SINGLE.name in names:
        tokens.add(refusal_tokens.REFUSE)
    if refusal_tokens.CATEGORY.name in names:
        tokens |= {refusal_tokens.of_topic(topic) for topic in tally.topics}
    if not tokens:
        return ""
    listed = ", ".join(f"`{token}`" for token in [refusal_tokens.RESPOND, *sorted(tokens)])
    return (
        "## Tokens\n\nThe tokenizer of a model that is trained on `single` or `category` needs these "
        f"as special tokens: {listed}. What stands behind a refusal token is a refusal of a harmless "
        "prompt: mix in refusals of harmful ones before training."
    )


def _how(tally: Tally, selected: Selected) -> str:
    runs = tally.runs.values()
    thresholds = ", ".join(sorted({f"{r.threshold:g}" for r in runs}))
    named = ", ".join(sorted({f"{r.name} ({r.run_id})" for r in runs}))
    return "\n".join(
        [
            "## How it was made",
            "",
            f"Runs: {_plain(named)}. Over-refusal means a refusal rate of {thresholds} or more over "
            "sampled responses; the Wilson interval is in every row. "
            f"The lowest refusal rate here is {tally.lowest:.3f}.",
            "",
            f"Evaluated prompts that matched: {selected.counts.matched}. Left out: "
            f"{selected.counts.seeds} seeds; {selected.not_harmless} that some safety gate did not "
            f"call harmless; {selected.counts.below} refused too seldom; {selected.merged} "
            f"repetitions; {selected.beyond_limit} beyond the limit that was asked for.",
        ]
    )


def _split(planned: Plan, tally: Tally) -> str:
    if not planned.sides:
        return ""
    return (
        f"## Splits\n\n{', '.join(planned.sides)}, by seed {planned.seed}. The {tally.n} prompts are "
        f"{planned.groups} groups that no split cuts: prompts that have an ancestor in common, or a "
        f"cosine of {COSINE:g} or more, directly or through others, are on one side."
    )


_SHOWN = 20


def _contamination(planned: Plan) -> str:
    if planned.benchmark is None:
        return ""
    exact = sum(k.is_exact for k in planned.known)
    n, embedded = planned.compared
    done = "They were left out." if planned.dropped else "They are still here."
    said = (
        f"Compared with the {n} prompts of {_plain(planned.benchmark)}: {exact} prompts are there word "
        f"for word (once case, white space and forms of characters are evened out), "
        f"{len(planned.known) - exact} are near-duplicates (cosine of {COSINE:g} or more"
        + (
            f"; {n - embedded} of the benchmark had no vector and were compared as text alone). "
            if embedded < n
            else "). "
        )
        + (done if planned.known else "")
    )
    lines = [
        (k.prompt_id, "same text" if k.is_exact else f"{k.cosine or 0.0:.3f}", k.text[:200])
        for k in planned.known[:_SHOWN]
    ]
    heads = ("prompt", "cosine", "text")
    more = len(planned.known) - _SHOWN
    listed = _table("", heads, lines).removeprefix("## \n\n")
    return "\n\n".join(
        part
        for part in (
            "## Contamination",
            said.strip(),
            listed,
            f"and {more} more" if more > 0 else "",
        )
        if part
    )


def _targets(tally: Tally) -> list[tuple[object, ...]]:
    lines: list[tuple[object, ...]] = []
    for target_id, t in sorted(tally.targets.items()):
        conditions = [f"temperature {t.temperature:g}", f"top_p {t.top_p:g}"]
        conditions.append(f"at most {t.max_tokens} tokens")
        conditions.append("no system prompt" if t.system_prompt is None else "with a system prompt")
        if t.adapter is not None:
            conditions.append(f"adapter {t.adapter}")
        lines.append((target_id, t.model, t.revision, ", ".join(conditions)))
    return lines


def _parts(tally: Tally, connection: Connection) -> str:
    """Judges and gates with their error, measured on people's labels in the same database."""
    heads = ("part", "name and version", "people's labels", "agreement", "missed", "false")
    lines: list[tuple[object, ...]] = []
    for part, names, measured in (
        ("judge", tally.judges, agreement.of_judges(connection)),
        ("safety gate", tally.gates, agreement.of_gates(connection)),
    ):
        by_name = {a.name: a for a in measured}
        for name in sorted(names):
            a = by_name.get(name)
            if name.startswith(HUMAN):
                lines.append((part, name, "a person", "-", "-", "-"))
            elif a is None:
                lines.append((part, name, 0, "unmeasured", "-", "-"))
            else:
                lines.append((part, name, a.labels, f"{a.agreed:.3f}", a.missed, a.false))
    note = (
        "Missed: a judge took a refusal for an answer; a gate let pass what a person does not call "
        "harmless. False: a judge took an answer for a refusal; a gate held back what a person calls "
        "harmless. Labels are those of all runs in the database."
    )
    return _table("Judges and safety gates", heads, lines) + f"\n\n{note}"


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _limits(tally: Tally) -> str:
    cut = tally.answers_cut
    return "\n".join(
        [
            "## Limits",
            "",
            "Judges and gates are automatic and can err; every row names them. Responses are the "
            "target's own, unedited: they are not checked for being right or complete"
            + (f", and {cut} of the answers end at the token limit." if cut else "."),
        ]
    )


def _licences(tally: Tally) -> str:
    lines = [(source, licence, n) for (source, licence), n in sorted(tally.licences.items())]
    table = _table("Licences of the seeds", ("source", "licence", "prompts"), lines)
    notes = [
        "Each row names the source and licence of the seed that it descends from; the licence of the "
        "target may bind what is done with its responses."
    ]
    if any(source == "xstest-safe" for source, _ in tally.licences):
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
    plain = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(plain.split()).replace("|", "\\|").replace("<", "&lt;")
