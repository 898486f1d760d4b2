"""What is behind one prompt, as sections: boundary pairs, gates, traces, responses. No links: pages and notebooks
show them."""

from __future__ import annotations

from db import traces as tracing
from db.about_prompt import SAMPLES, AboutPrompt
from db.store import Store
from evo.report import sections
from evo.report.look import section, text


def pairs(about: AboutPrompt) -> str:
    rows = []
    for pair in about.pairs:
        is_refused = pair["refused_prompt_id"] == about.prompt_id
        before, after = (
            (pair["other"], about.prompt) if is_refused else (about.prompt, pair["other"])
        )
        rows.append(
            f'<p class="text">{sections.edited(before, after)} <span class="faint">answered '
            f"{1 - pair['answered_rate']:.0%}, refused {pair['refused_rate']:.0%}</span></p>"
        )
    return section("Boundary", "".join(rows), rows)


def gates(about: AboutPrompt) -> str:
    rows = "".join(
        f"<tr><td>{text(g['gate'], 80)}</td><td>{text(g['version'], 30)}</td><td>{text(g['outcome'])}</td>"
        f"<td>{text(g['reason'], 300)}</td></tr>"
        for g in about.gates
    )
    return section("Safety gates", f"<table>{rows}</table>", rows)


def traces(store: Store, about: AboutPrompt) -> str:
    drawn = [
        sections.curve(trace | {"prompt": about.prompt, "reasoning": "", "response": ""})
        for trace in tracing.of_prompt(store, about.prompt_id)
        if trace["scores"]
    ][:8]
    return section("Refusal over the thought", f'<div class="pair">{"".join(drawn)}</div>', drawn)


def samples(about: AboutPrompt) -> str:
    rows = []
    for s in about.samples:
        said = "<br>".join(
            f"{text(v['judge'], 60)} "
            + (
                f"{v['p_refusal']:.2f}"
                if v["p_refusal"] is not None
                else f"unscored: {text(v['unscored_reason'], 120)}"
            )
            for v in s["verdicts"]
        )
        thought = (
            f"<details><summary>thought</summary>{text(s['reasoning'])}</details>"
            if s["reasoning"]
            else ""
        )
        rows.append(
            f'<tr><td class="word">{said or "not judged"}<br><span class="faint">{text(s["model"], 60)}, '
            f'{s["n_tokens"]} tokens</span></td><td class="text">{thought}{text(s["text"])}</td></tr>'
        )
    more = f"<p>The first {SAMPLES} are shown.</p>" if len(rows) == SAMPLES else ""
    header = "<tr><th>P(refusal)</th><th>response</th></tr>"
    return section("Responses", f"{more}<table>{header}{''.join(rows)}</table>", rows)
