"""One HTML page of refusal cliffs: curves, their means by kind, a head map. Pure; no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fitness.cliff.course import mean_course

WIDTH, HEIGHT, MARGIN = 560, 170, 28
COLOURS = ("a", "b", "c", "d")
STYLE = """
:root { color-scheme: light dark; --bg: #fff; --ink: #1d2127; --faint: #8a919b; --a: #2563a8; --b: #c2410c;
  --c: #7c3aa8; --d: #15803d; --less: #b91c1c; --more: #1d4ed8 }
@media (prefers-color-scheme: dark) { :root { --bg: #15181d; --ink: #e3e6ea; --faint: #7c848f; --a: #6aa9ee;
  --b: #fb923c; --c: #c792ea; --d: #4ade80; --less: #f87171; --more: #7aa2ff } }
body { background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem }
svg { max-width: 100%; height: auto; display: block } svg text { fill: var(--ink); font-size: 11px }
figure { margin: 1.2rem 0 } figcaption, .faint { color: var(--faint); font-size: 13px; overflow-wrap: anywhere }
td, th { text-align: left; padding: 2px 10px 2px 0; vertical-align: top; overflow-wrap: anywhere }
.line { fill: none; stroke-width: 2 } .rule { stroke: var(--faint); stroke-dasharray: 4 3 }
.axis { stroke: var(--faint) } .mark { stroke: var(--less); stroke-width: 2 }
.a { stroke: var(--a) } .b { stroke: var(--b) } .c { stroke: var(--c) } .d { stroke: var(--d) }
text.a, text.b, text.c, text.d { stroke: none } text.a { fill: var(--a) } text.b { fill: var(--b) }
text.c { fill: var(--c) } text.d { fill: var(--d) } .less { fill: var(--less) } .more { fill: var(--more) }
"""


def page(
    traces: Sequence[Mapping[str, Any]],
    heads: Mapping[str, Any],
    chosen: Sequence[Mapping[str, Any]],
    *,
    model: str,
) -> str:
    """The whole page.

    Args:
        traces: rows of `evocliff cliff trace --json`, each with its `planted` kind.
        heads: the object of `evocliff cliff heads --json`.
        chosen: rows of the selected dataset.
    """
    traced = [t for t in traces if "scores" in t]
    shown = [_first(traced, kind) for kind in ("cliff", "inverse", "none")]
    parts = [
        f"<h1>Refusal cliffs of {escape(model)}</h1>",
        f"<p>{len(traced)} thoughts traced, {len(traces) - len(traced)} without a trace. The score is "
        "P(refusal) as a probe reads it off the hidden state of each token.</p>",
        "<h2>Single thoughts</h2>",
        *(curve(trace) for trace in shown if trace is not None),
        "<h2>Means by planted kind</h2>",
        means(traced),
        "<h2>Heads</h2>",
        head_map(heads["map"], heads["suppressing"]),
        _effects(heads.get("ablated", {})),
        f"<h2>Selected: {len(chosen)} examples</h2>",
        _chosen(chosen),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Refusal cliffs</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def curve(trace: Mapping[str, Any]) -> str:
    """One thought: score over tokens, the plateau, the closing mark, and the drop where there is one."""
    scores = trace["scores"]
    end = _x(trace["n_tokens"], len(scores))
    plateau = _y(trace["plateau_top"])
    drawn = [
        _axes(),
        f'<line class="rule" x1="{MARGIN}" x2="{end:.1f}" y1="{plateau:.1f}" y2="{plateau:.1f}"/>',
        f'<text x="{MARGIN + 4}" y="{plateau - 4:.1f}">plateau {trace["plateau_top"]:.2f}</text>',
        f'<line class="rule" x1="{end:.1f}" x2="{end:.1f}" y1="{_y(1):.1f}" y2="{_y(0):.1f}"/>',
        _polyline(scores, "a"),
        f'<text x="{WIDTH - 6}" y="{_y(trace["final"]) - 6:.1f}" text-anchor="end">'
        f"final {trace['final']:.2f}</text>",
    ]
    if trace["position"] is not None:
        at = _x(trace["position"], len(scores))
        drop = trace["plateau_top"] - trace["final"]
        drawn.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{plateau:.1f}" '
            f'y2="{_y(trace["final"]):.1f}"/><text class="less" x="{at - 5:.1f}" y="{_y(0.5):.1f}" '
            f'text-anchor="end">{"drop" if drop > 0 else "rise"} {abs(drop):.2f} at token '
            f"{trace['position']}</text>"
        )
    caption = (
        f"<b>{escape(str(trace['kind']))}</b>: {escape(str(trace['prompt']))}<br>thinks: "
        f"{escape(str(trace.get('reasoning') or ''))}<br>answers: {escape(str(trace.get('response') or ''))}"
    )
    return _figure("".join(drawn), caption, HEIGHT)


def means(traces: Sequence[Mapping[str, Any]]) -> str:
    """Mean courses by planted kind, aligned at their ends; a thought counts where it has a token."""
    kinds = sorted({str(t["planted"]) for t in traces})[: len(COLOURS)]
    found = {k: mean_course([t["scores"] for t in traces if t["planted"] == k]) for k in kinds}
    longest = max((len(m.mean) for m in found.values()), default=1)
    drawn = [_axes()]
    for n, (colour, (kind, mean)) in enumerate(zip(COLOURS, found.items(), strict=False)):
        drawn.append(_polyline(mean.mean.tolist(), colour, longest - len(mean.mean), longest))
        count = int(mean.n.max())
        drawn.append(
            f'<text class="{colour}" x="{MARGIN + 6 + 120 * n}" y="12">{escape(kind)} ({count})</text>'
        )
    return _figure("".join(drawn), "The last token before the answer is on the right.", HEIGHT)


def head_map(
    contributions: Sequence[Sequence[float]], strongest: Sequence[Mapping[str, Any]]
) -> str:
    """Layers from left to right, heads from top to bottom; the strongest suppressors are framed."""
    size = 17
    most = max((abs(v) for row in contributions for v in row), default=0.0) or 1.0
    framed = {(h["layer"], h["head"]) for h in strongest}
    cells = []
    for layer, row in enumerate(contributions):
        for head, value in enumerate(row):
            frame = ' stroke="currentColor" stroke-width="2"' if (layer, head) in framed else ""
            cells.append(
                f'<rect class="{"less" if value < 0 else "more"}" x="{MARGIN + layer * size}" '
                f'y="{head * size + 4}" width="{size - 3}" height="{size - 3}" '
                f'fill-opacity="{abs(value) / most:.2f}"{frame}><title>layer {layer} head {head}: '
                f"{value:+.4f}</title></rect>"
            )
    height = 22 + size * max((len(row) for row in contributions), default=0)
    cells.append(f'<text x="{MARGIN}" y="{height - 4}">layer 0 to {len(contributions) - 1}</text>')
    caption = "Red suppresses refusal, blue promotes it; framed: the most suppressing."
    return _figure("".join(cells), caption, height)


def _first(traces: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """The one that falls or rises most of a kind."""
    own = [t for t in traces if t["kind"] == kind]
    return max(own, key=lambda t: abs(t["plateau_top"] - t["final"]), default=None)


def _axes() -> str:
    return (
        f'<line class="axis" x1="{MARGIN}" x2="{WIDTH}" y1="{_y(0):.1f}" y2="{_y(0):.1f}"/>'
        f'<text x="2" y="{_y(1) + 4:.1f}">1</text><text x="2" y="{_y(0):.1f}">0</text>'
    )


def _polyline(
    scores: Sequence[float], colour: str, start: int = 0, total: int | None = None
) -> str:
    n = total or len(scores)
    points = " ".join(f"{_x(start + i, n):.1f},{_y(s):.1f}" for i, s in enumerate(scores))
    return f'<polyline class="line {colour}" points="{points}"/>'


def _x(token: int, n: int) -> float:
    return MARGIN + (WIDTH - MARGIN) * token / max(1, n - 1)


def _y(score: float) -> float:
    return 18 + (HEIGHT - 36) * (1 - score)


def _figure(drawn: str, caption: str, height: int) -> str:
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">{drawn}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _effects(ablated: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{_number(e[c])}</td>" for c in ("refusal", "over_refusal", "perplexity"))
        + "</tr>"
        for name, e in ablated.items()
    )
    head = "<th>taken out</th><th>harmful refused</th><th>harmless refused</th><th>perplexity</th>"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _number(value: float | None) -> str:
    return "not asked" if value is None else f"{value:.2f}"


def _chosen(rows: Sequence[Mapping[str, Any]], most: int = 12) -> str:
    listed = "".join(
        f"<tr><td>{float(row['misalignment']):.2f}</td><td>{escape(str(row['prompt']))}</td></tr>"
        for row in rows[:most]
    )
    return f"<table><tr><th>misalignment</th><th>prompt</th></tr>{listed}</table>"
