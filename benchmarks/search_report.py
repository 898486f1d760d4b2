"""The lines of benchmarks/search_efficiency.py as a table, two plots and a few numbers.

Medians over the seeds; intervals are percentile bootstraps of the median, of 10,000 draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arms import ABLATIONS, ARMS, MAIN
from benchmarks.search_lines import Find, Line
from fitness.metrics import mean_distance, msttr, words

BEGIN, END = "<!-- search efficiency -->\n", "<!-- end of search efficiency -->\n"
CHAMPION = "steady-state"
_DRAWS, _LEVEL = 10_000, 0.95
_UNIT = 100_000  # tokens


def rate(line: Line) -> float:
    """Distinct confirmed over-refusals per 100,000 target tokens."""
    return _UNIT * len(line.finds) / line.target_tokens if line.target_tokens else 0.0


def _medians(values: Sequence[float], seed: int) -> NDArray[np.float64]:
    """Medians of bootstrap draws (draws,)."""
    rng = np.random.default_rng(seed)
    drawn = np.asarray(values)[rng.integers(0, len(values), size=(_DRAWS, len(values)))]
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the median.

    >>> interval([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    tail = 50 * (1 - _LEVEL)
    low, high = np.percentile(_medians(values, 0), [tail, 100 - tail])
    return float(low), float(high)


def ratio(values: Sequence[float], others: Sequence[float]) -> tuple[float, float, float] | None:
    """How many times the median of `others` that of `values` is, with its interval; None where the
    others found nothing."""
    if not median(others):
        return None
    drawn = _medians(values, 0) / np.maximum(_medians(others, 1), 1e-9)
    tail = 50 * (1 - _LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return median(values) / median(others), float(low), float(high)


def by_arm(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines of each arm that has some, in the order of the arms."""
    return {arm: mine for arm in ARMS if (mine := [one for one in lines if one.arm == arm])}


def figures(lines: Sequence[Line]) -> dict[str, Any]:
    """The medians of every arm, as plain data."""
    numbers: dict[str, Any] = {}
    for arm, mine in by_arm(lines).items():
        low, high = interval([rate(one) for one in mine])
        numbers[arm] = {
            "runs": len(mine),
            "per_100k": round(median(rate(one) for one in mine), 1),
            "ci95": [round(low, 1), round(high, 1)],
            "distinct": median(len(one.finds) for one in mine),
            "evaluations": median(one.evaluations for one in mine),
        }
    return numbers


def table(lines: Sequence[Line]) -> str:
    """Markdown, the arms and then the ablations."""
    grouped = by_arm(lines)
    head = (
        "| arm | runs | distinct over-refusals per 100,000 target tokens | 95 % interval "
        "| `steady-state` has so many times as many | found | prompts sampled | confirmed |\n|---|---|---|---|---|---|---|---|\n"
    )
    parts = []
    for name, family in (("", MAIN), ("Each part switched off in turn:\n\n", ABLATIONS)):
        rows = [_row(arm, grouped) for arm in family if arm in grouped]
        if rows:
            parts.append(name + head + "".join(rows))
    return "\n".join(parts)


def _row(arm: str, grouped: Mapping[str, Sequence[Line]]) -> str:
    mine = grouped[arm]
    rates = [rate(one) for one in mine]
    low, high = interval(rates)
    times = ""
    if arm != CHAMPION and CHAMPION in grouped:
        found = ratio([rate(one) for one in grouped[CHAMPION]], rates)
        times = f"{found[0]:.1f} ({found[1]:.1f} to {found[2]:.1f})" if found else "it found none"
    asked = sum(one.asked for one in mine)
    stood = f"{100 * sum(one.confirmed for one in mine) / asked:.0f} %" if asked else ""
    return (
        f"| `{arm}` | {len(mine)} | {median(rates):.0f} | {low:.0f} to {high:.0f} | {times} "
        f"| {median(len(one.finds) for one in mine):g} "
        f"| {median(one.evaluations for one in mine):g} | {stood} |\n"
    )


def diversity(lines: Sequence[Line], one: str, other: str) -> list[dict[str, float]]:
    """MSTTR and mean distance of both arms' first n finds, n the smaller number, for each seed that
    both have with two finds or more. Loads the embedder."""
    pairs = [
        (a, b)
        for a in lines
        for b in lines
        if (a.arm, b.arm, a.seed) == (one, other, b.seed) and min(len(a.finds), len(b.finds)) > 1
    ]
    if not pairs:
        return []
    from workers.embedders import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder()

    def measured(finds: Sequence[Find]) -> tuple[float, float, float]:
        texts = [find.text for find in finds]
        tokens = words("\n".join(texts))
        return msttr(tokens), msttr(tokens, 50), mean_distance(embedder.embed(texts))

    rows = []
    for a, b in pairs:
        n = min(len(a.finds), len(b.finds))
        mine, theirs = measured(a.finds[:n]), measured(b.finds[:n])
        names = ("msttr_800", "msttr_50", "distance")
        rows.append(
            {"seed": a.seed, "n": n}
            | {f"{name}_{one}": value for name, value in zip(names, mine, strict=True)}
            | {f"{name}_{other}": value for name, value in zip(names, theirs, strict=True)}
        )
    return rows


def _diversity_table(rows: Sequence[Mapping[str, float]], one: str, other: str) -> str:
    if not rows:
        return ""
    text = (
        f"\nAt equal numbers found (the first n of both, n {min(r['n'] for r in rows):g} to "
        f"{max(r['n'] for r in rows):g}; median over {len(rows)} seeds):\n\n"
        f"| | `{one}` | `{other}` |\n|---|---|---|\n"
    )
    for name, label in (
        ("msttr_800", "MSTTR, window 800"),
        ("msttr_50", "MSTTR, window 50"),
        ("distance", "mean cosine distance of pairs"),
    ):
        mine, theirs = (median(r[f"{name}_{arm}"] for r in rows) for arm in (one, other))
        text += f"| {label} | {mine:.3f} | {theirs:.3f} |\n"
    return text + (
        "\nThe first n finds seldom fill a window of 800 words: that row is then the type-token ratio of "
        "all of them, and longer prompts have a lower one.\n"
    )


def write(lines: Sequence[Line], page: Path, folder: Path) -> dict[str, Any]:
    """The table into `page` between its markers (at its end where it has none), the plots into
    `folder`. Returns the figures."""
    plots = {name: folder / f"search_{name}.svg" for name in ("over_tokens", "efficiency")}
    _plot_curves(lines, plots["over_tokens"])
    _plot_bars(lines, plots["efficiency"])
    rows = diversity(lines, CHAMPION, "evorefuse")
    runs = max((len(mine) for mine in by_arm(lines).values()), default=0)
    budgets = sorted({one.budget for one in lines})
    text = (
        f"\nMedian of up to {runs} runs, {' or '.join(f'{b:,}' for b in budgets)} target tokens each.\n\n"
        f"{table(lines)}{_diversity_table(rows, CHAMPION, 'evorefuse')}\n"
        f"![Distinct over-refusals over target tokens]({plots['over_tokens'].name})\n\n"
        f"![Distinct over-refusals per 100,000 tokens, with intervals]({plots['efficiency'].name})\n\n"
    )
    shown = page.read_text(encoding="utf-8")
    if BEGIN not in shown:
        shown += f"\n## A search that finds more with less\n\n{BEGIN}{END}"
    before, _, rest = shown.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + text + END + after, encoding="utf-8")
    return figures(lines) | {"diversity": rows}


def curve(lines: Sequence[Line], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median number of finds over runs by each number of tokens in `at` (n,)."""
    counts = [
        np.searchsorted(np.sort([f.tokens for f in line.finds]), at, side="right") for line in lines
    ]
    medians: NDArray[np.float64] = np.median(np.array(counts, dtype=float), axis=0)
    return medians


def _axes(size: tuple[float, float]) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "evocliff"  # the same lines give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=size)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, file: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def _plot_curves(lines: Sequence[Line], file: Path) -> None:
    figure, axes = _axes((7.5, 4.5))
    grouped = by_arm([one for one in lines if one.arm in MAIN])
    for arm, mine in grouped.items():
        at = np.linspace(0, median(one.target_tokens for one in mine), 200)
        (drawn,) = axes.step(
            at, curve(mine, at), where="post", label=arm, linewidth=2.5 if arm == CHAMPION else 1.2
        )
        counts = np.array([curve([one], at) for one in mine])
        axes.fill_between(
            at, counts.min(0), counts.max(0), step="post", alpha=0.1, color=drawn.get_color()
        )
    axes.set_xlabel("target tokens")
    axes.set_ylabel("distinct over-refusals, confirmed")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, file)


def _plot_bars(lines: Sequence[Line], file: Path) -> None:
    grouped = by_arm(lines)
    figure, axes = _axes((7.5, 0.6 + 0.34 * len(grouped)))
    for place, (arm, mine) in enumerate(grouped.items()):
        rates = [rate(one) for one in mine]
        low, high = interval(rates)
        middle = median(rates)
        colour = "C0" if arm == CHAMPION else "C2" if arm in ABLATIONS else "C7"
        axes.barh(place, middle, color=colour, xerr=[[middle - low], [high - middle]], capsize=2)
    axes.set_yticks(range(len(grouped)), list(grouped), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("distinct over-refusals per 100,000 target tokens, median and 95 % interval")
    _save(figure, file)
