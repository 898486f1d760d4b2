"""`evocliff review`: people label prompts and responses, one key each; undo, CSV, agreement."""

from __future__ import annotations

import contextlib
import csv
import getpass
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from db.labels import Label, ToReview
    from db.store import Store
    from fitness.types import JudgedSample

_EPILOG = """Examples:

  evocliff review quickstart

  evocliff review quickstart --responses 3 --annotator anna

  evocliff review quickstart --to-csv labels.csv       (all labels; --blank adds what is unlabelled)

  evocliff review --from-csv labels.csv

  evocliff review quickstart --agreement
"""


@dataclass(frozen=True, slots=True)
class _Step:
    """One thing to label: a prompt, or one response to it."""

    item: ToReview
    sample: JudgedSample | None = None

    @property
    def keys(self) -> dict[str, str]:
        from evo.reviewing import PROMPT_KEYS, RESPONSE_KEYS

        return PROMPT_KEYS if self.sample is None else RESPONSE_KEYS

    def label(self, annotator: str, said: str) -> Label:
        from db.labels import Label

        found = self.item.found
        if self.sample is None:
            return Label(annotator, said, found.prompt_id)
        index = self.sample.sample.index
        return Label(annotator, said, found.prompt_id, found.target_id, index)


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(review)


def review(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Name or id; not needed with --from-csv.")
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(envvar="EVOCLIFF_ANNOTATOR", help="Who labels; default: the user.")
    ] = None,
    responses: Annotated[
        int, typer.Option(min=0, help="Label so many responses of each prompt too.")
    ] = 1,
    to_csv: Annotated[
        Path | None, typer.Option(help="Write the run's labels to a new file.")
    ] = None,
    blank: Annotated[
        bool, typer.Option("--blank", help="With --to-csv: rows for what is not labelled yet too.")
    ] = False,
    from_csv: Annotated[Path | None, typer.Option(help="Take labels of such a file in.")] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="How people, judges and gates agree: kappa, alpha.")
    ] = False,
    db: Annotated[
        str, typer.Option("--db", envvar="EVOCLIFF_DB", help="Database URL.")
    ] = "sqlite:///evocliff.db",
    json_: Annotated[bool, typer.Option("--json", help="With --agreement: print JSON.")] = False,
) -> None:
    """Label what a search found. People's labels win over gates; only harmless prompts are exported.

    Each label is stored at once, so stop whenever you like: the next time you go on where you were.
    """
    import db as database
    from db import labels
    from workers.errors import ConfigError

    if sum((to_csv is not None, from_csv is not None, agreement)) > 1:
        raise ConfigError("--to-csv, --from-csv and --agreement: choose one")
    if from_csv is not None:
        taken = _read_csv(from_csv)
        with contextlib.closing(database.open(db)) as store:
            labels.put(store, taken)
        typer.echo(f"{len(taken)} labels taken in")
        return
    if run is None:
        raise ConfigError("name a RUN; see `evocliff runs`")
    writing = to_csv is None and not agreement
    with contextlib.closing(database.open(db, read_only=not writing)) as store:
        if to_csv is not None:
            _write_csv(store, run, to_csv, blank, responses)
        elif agreement:
            _show_agreement(store, run, json_)
        else:
            _ask(store, run, annotator or getpass.getuser(), responses)


def _ask(store: Store, run: str, annotator: str, responses: int) -> None:

    from db import labels

    steps, done = _steps(store, run, annotator, responses)
    place, history = 0, list[int]()
    while place < len(steps):
        step = steps[place]
        typer.echo(_shown(step, done + place, done + len(steps)))
        key = typer.getchar().lower()
        if key in ("q", "\x03", "\x04", ""):
            break
        if key == "u" and history:
            place = history.pop()
            labels.take_back(
                store, steps[place].label(annotator, next(iter(steps[place].keys.values())))
            )
        elif key == "s":
            place += 1
        elif key in step.keys:
            labels.put(store, [step.label(annotator, step.keys[key])])
            typer.echo(f"  -> {step.keys[key]}")
            history.append(place)
            place += 1
    typer.echo(f"{len(history)} labels by {annotator} in this sitting; {len(steps) - place} left")


def _steps(store: Store, run: str, annotator: str, responses: int) -> tuple[list[_Step], int]:
    """What this person has not labelled, and how much of it is labelled already."""
    from db import labels

    given = {
        (row["prompt_id"], row["target_id"], row["sample_index"])
        for row in labels.given(store, run)
        if row["annotator"] == annotator
    }
    every = list(_every_step(labels.to_review(store, run), responses))
    left = []
    for step in every:
        named = step.label(annotator, next(iter(step.keys.values())))
        if (named.prompt_id, named.target_id, named.sample_index) not in given:
            left.append(step)
    return left, len(every) - len(left)


def _every_step(items: Sequence[ToReview], responses: int) -> Iterator[_Step]:
    for item in items:
        yield _Step(item)
        for sample in item.samples[:responses]:
            yield _Step(item, sample)


def _shown(step: _Step, number: int, of: int) -> str:
    from evo.cli.records import visible

    found = step.item.found
    lines = ["", f"[{number + 1}/{of}] {found.prompt_id[:12]}  {found.strategy}"]
    lines.append(f"  {visible(found.prompt)}")
    lines += [
        f"    {d.gate}: {d.outcome} {d.reason}".rstrip() for d in (*found.gates, *found.people)
    ]
    if found.score is not None:
        lines.append(f"    refusal rate {found.score.refusal_rate:.2f} of {found.score.n_samples}")
    shown = [step.sample] if step.sample else step.item.samples[:3]
    for judged in shown:
        verdicts = ", ".join(
            f"{v.judge} {'unscored' if v.p_refusal is None else format(v.p_refusal, '.2f')}"
            for v in judged.verdicts
        )
        lines.append(f"  > {visible(judged.sample.text)}   ({verdicts})")
    keys = ", ".join(f"{key} {label}" for key, label in step.keys.items())
    what = "the prompt" if step.sample is None else "this response"
    lines.append(f"  {what}: {keys}; s skip, u undo, q quit")
    return "\n".join(lines)


def _write_csv(store: Store, run: str, path: Path, blank: bool, responses: int) -> None:
    from db import labels
    from workers.errors import ConfigError

    if path.exists():
        raise ConfigError(f"--to-csv {path}: exists already; name a new file")
    rows = labels.given(store, run)
    if blank:
        named = {(r["prompt_id"], r["target_id"], r["sample_index"]) for r in rows}
        for step in _every_step(labels.to_review(store, run), responses):
            row = _blank_row(step)
            if (row["prompt_id"], row["target_id"], row["sample_index"]) not in named:
                rows.append(row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, labels.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    typer.echo(f"{path}: {len(rows)} rows")


def _blank_row(step: _Step) -> dict[str, Any]:
    found, sample = step.item.found, step.sample
    return {
        "annotator": "",
        "label": "",
        "prompt_id": found.prompt_id,
        "target_id": found.target_id if sample else None,
        "sample_index": sample.sample.index if sample else None,
        "prompt": found.prompt,
        "response": sample.sample.text if sample else None,
    }


def _read_csv(path: Path) -> list[Label]:
    """The labels of a file; rows with no label are passed over."""
    from db.labels import Label
    from evo.files import column, rows
    from workers.errors import ConfigError

    taken = []
    for place, row in rows(path, "--from-csv"):
        names = ("annotator", "label", "prompt_id", "target_id", "sample_index")
        who, label, prompt, target, index = (
            column(row, name, "--from-csv", place) or "" for name in names
        )
        if not label:
            continue
        if index and not str(index).isdecimal():
            raise ConfigError(f"--from-csv: {place}: sample_index '{index}' is no number")
        try:
            taken.append(Label(who, label, prompt, target or None, int(index) if index else None))
        except ConfigError as error:
            raise ConfigError(f"--from-csv: {place}: {error}") from None
    if not taken:
        raise ConfigError(f"--from-csv: {path}: holds no label")
    return taken


def _show_agreement(store: Store, run: str, as_json: bool) -> None:
    from db import labels
    from fitness.agreement import agreements

    found = agreements(labels.opinions(store, run))
    if as_json:
        typer.echo(json.dumps([asdict(a) for a in found]))
        return
    if not found:
        typer.echo("nothing was labelled by two raters yet")
    for a in found:
        same, kappa, alpha = ("-" if v is None else f"{v:.3f}" for v in (a.same, a.kappa, a.alpha))
        typer.echo(
            f"{' ~ '.join(a.raters):<44} n {a.n:<6} same {same}  kappa {kappa}  alpha {alpha}"
        )
