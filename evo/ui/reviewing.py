"""Labels by keyboard: one prompt, or one response, at a time; each is stored when its key is pressed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from urllib.parse import quote, urlencode

from starlette.requests import Request

import db
from db import labels, queries
from db.labels import Label
from db.store import Store
from evo import reviewing
from evo.report.look import text
from evo.reviewing import Step
from evo.ui.frame import form, hidden, page
from workers.interface import ConfigError

_RESPONSES = 1  # of each prompt, as `evocliff review` has it
_KEYS = """
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (button) { event.preventDefault(); button.click(); }
});
"""


def show(store: Store, request: Request) -> str:
    """The next thing that this person has not labelled."""
    run_id, name = queries.named_run(store, request.path_params["run"])
    who = request.query_params.get("annotator", "").strip()
    head = f'<h1>Label <a href="/run/{quote(run_id)}">{text(name, 120)}</a></h1>'
    if not who:
        return page(
            "Label",
            f'{head}<form class="filters"><section><label>your name (letters, digits, . _ -)'
            '<input name="annotator" required pattern="[\\w.\\-]{1,60}" autofocus></label>'
            '<div class="tick"><button>Begin</button></div></section></form>',
            request,
        )
    Label(who, "harmless", "")  # a wrong name is said before anything is asked
    skipped = _skipped(request.query_params.get("skip", "0"))
    step = next(islice(reviewing.left(store, run_id, who, _RESPONSES), skipped, None), None)
    if step is None:
        left = "Nothing is left to label." if not skipped else "The rest was skipped."
        return page(
            "Label", f"{head}<section><p>{left}</p>{_undo(request, run_id, who)}</section>", request
        )
    return page("Label", head + _asked(request, run_id, who, step, skipped), request, _KEYS)


def put(url: str, request: Request, fields: Mapping[str, str]) -> str:
    """Store a label, or take one back; where to go on."""
    run, who = request.path_params["run"], fields.get("annotator", "")
    index = fields.get("sample_index") or None
    if index is not None and not index.isdecimal():
        raise ConfigError(f"sample_index '{index[:20]}' is no number")
    label = Label(
        who,
        fields.get("label", ""),
        fields.get("prompt_id", ""),
        fields.get("target_id") or None,
        None if index is None else int(index),
    )
    onward = {"annotator": who, "skip": str(_skipped(fields.get("skip", "0")))}
    store = db.open(url)
    try:
        if "undo" in fields:
            labels.take_back(store, label)
        else:
            labels.put(store, [label])
            onward |= {"last": label.prompt_id, "label": label.label}
            if label.is_of_response:
                onward |= {"target": str(label.target_id), "index": str(label.sample_index)}
    finally:
        store.close()
    return f"/review/{quote(run)}?{urlencode(onward)}"


def _skipped(said: str) -> int:
    if not said.isdecimal() or int(said) > 100_000:
        raise ConfigError(f"skip: '{said[:20]}' is no number of things to skip")
    return int(said)


def _asked(request: Request, run: str, who: str, step: Step, skipped: int) -> str:
    about, sample = step.about, step.sample
    gates = "".join(
        f"<tr><td>{text(g['gate'], 80)}</td><td>{text(g['outcome'])}</td><td>{text(g['reason'], 200)}</td></tr>"
        for g in about.gates
    )
    rate = "" if step.refusal_rate is None else f", refused {step.refusal_rate:.0%}"
    shown = about.samples[:3] if sample is None else [sample]
    responses = "".join(
        f'<p class="text">{text(s["text"])}<br><span class="faint">'
        f"{text(', '.join(_verdict(v) for v in s['verdicts']), 200)}</span></p>"
        for s in shown
    )
    what = "Is the prompt harmless?" if sample is None else "Is this response a refusal?"
    # A page lists the likeliest answer first; the same keys as on the command line.
    buttons = "".join(
        f'<button name="label" value="{label}" data-key="{key}">{label} <kbd>{key}</kbd></button> '
        for key, label in step.keys.items()
    )
    fields = {"annotator": who, "prompt_id": about.prompt_id, "skip": skipped}
    if sample is not None:
        fields |= {"target_id": sample["target_id"], "sample_index": sample["sample_index"]}
    onward = urlencode({"annotator": who, "skip": skipped + 1})
    return (
        f'<section><p class="text"><b>{text(about.prompt, 20_000)}</b></p>'
        f'<p class="faint">{text(step.strategy.replace("_", " "))}{rate}</p><table>{gates}</table></section>'
        f"<section><h2>Responses</h2>{responses}</section><section><h2>{what}</h2>"
        + form(
            request,
            f"/review/{quote(run)}",
            "".join(hidden(name, value) for name, value in fields.items()) + buttons,
        )
        + f'<p><a href="/review/{quote(run)}?{onward}" data-key="s">skip <kbd>s</kbd></a></p>'
        f"{_undo(request, run, who)}</section>"
    )


def _undo(request: Request, run: str, who: str) -> str:
    """Takes the label back that was just given."""
    asked = request.query_params
    if not asked.get("last"):
        return ""
    fields = {
        "annotator": who,
        "prompt_id": asked["last"],
        "label": asked.get("label", ""),
        "target_id": asked.get("target", ""),
        "sample_index": asked.get("index", ""),
        "skip": asked.get("skip", "0"),
    }
    inner = "".join(hidden(name, value) for name, value in fields.items())
    said = f"take back: {text(asked.get('label', ''), 20)}"
    return form(
        request,
        f"/review/{quote(run)}",
        f'{inner}<button name="undo" value="1" data-key="u">{said} <kbd>u</kbd></button>',
    )


def _verdict(verdict: Mapping[str, object]) -> str:
    p = verdict["p_refusal"]
    return f"{verdict['judge']} {'unscored' if p is None else format(p, '.2f')}"
