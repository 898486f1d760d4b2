"""Who finds more distinct over-refusals for the same target tokens?

    python -m benchmarks.search_efficiency --out out/search_efficiency.jsonl [--resume]
        [--tokens 12000] [--seeds 5] [--arms steady-state,random] [--report] [--keep-stores DIR]

Every arm (benchmarks/arms.py) searches the over-cautious SmolLM2 with the same budget of target tokens:
generated tokens of all samples, and one for each opening score. A find is an over-refusal of the run
(harmless by its gate, refusal rate >= 0.5, no seed) that is refused at that rate again in 10 fresh samples,
drawn with other random numbers and not paid for: they are the measure. Finds are counted as clusters
at cosine 0.85, greedily from the fittest on. The figure is clusters per 100,000 target tokens,
over-run of the last batch included.

Each run is one line of the file, written when it has ended; `--resume` leaves out those that are there.
12,000 tokens, 5 seeds and all 13 arms should take an hour or more on two cores (estimated, not measured). `--report` only reads the file:
it writes the table between the markers of docs/benchmarks.md, and the plots.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks import arms, search_report
from benchmarks.in_process import Ended, Parts, Told, load, search
from benchmarks.search_lines import Find, Line, append, read
from evo.config import Config
from evo.seeding import derive
from evo.selection import distinct
from fitness.types import EvaluationRequest
from workers.interface import ConfigError, Failure

TOKENS = 12_000
SEEDS = 5
FRESH = 10  # samples that confirm
NEAREST = 0.85  # cosine from which two finds are one


def hits(told: Sequence[Told], threshold: float) -> list[Told]:
    """The run's over-refusals that are not seeds, each with its newest evaluation, in order."""
    newest: dict[str, Told] = {}
    for one in told:
        if one.outcome.evaluation and one.outcome.candidate:
            newest[one.outcome.candidate.prompt_id] = one
    found = []
    for one in newest.values():
        candidate, evaluation = one.outcome.candidate, one.outcome.evaluation
        assert candidate
        assert evaluation
        if candidate.strategy.value != "seed" and evaluation.score.refusal_rate >= threshold:
            found.append(one)
    return found


async def confirm(
    parts: Parts, config: Config, told: Sequence[Told], rates: MutableMapping[str, float]
) -> None:
    """Refusal rates of prompts by fresh samples, into `rates`; one known there is not asked again."""
    asked = [one for one in told if _id(one) not in rates]
    requests = []
    for one in asked:
        assert one.outcome.candidate
        requests.append(
            EvaluationRequest(
                prompt_id=_id(one),
                prompt=one.outcome.candidate.text,
                samples_first=FRESH,
                samples_max=FRESH,
                threshold=config.search.threshold,
                seed=derive(0, "confirmation", _id(one)),  # the same for all runs, of none of them
            )
        )
    # The evaluator without what a run may have set up: plain samples.
    for request, answer in zip(requests, await parts.evaluator.run(requests), strict=True):
        rates[request.prompt_id] = 0.0 if isinstance(answer, Failure) else answer.score.refusal_rate


async def finds(
    parts: Parts, config: Config, ended: Ended, rates: MutableMapping[str, float]
) -> tuple[list[Find], int, int, int]:
    """The clusters of confirmed over-refusals in order of finding; hits, asked, confirmed.

    Asks of each cluster the fittest, and the next where it fails: the same clusters as if all were
    asked, for far fewer samples.
    """
    threshold = config.search.threshold
    left = hits(ended.told, threshold)
    n_hits = len(left)
    asked: set[str] = set()
    while True:
        left = [one for one in left if rates.get(_id(one), 1.0) >= threshold]
        chosen = _clusters(left)
        asked |= {_id(one) for one in chosen}
        if all(_id(one) in rates for one in chosen):
            break
        await confirm(parts, config, chosen, rates)
    chosen.sort(key=lambda one: one.tokens)
    confirmed = sum(rates[name] >= threshold for name in asked)
    return [_find(one, rates) for one in chosen], n_hits, len(asked), confirmed


def _clusters(told: Sequence[Told]) -> list[Told]:
    if not told:
        return []
    vectors = np.stack([one.outcome.embedding for one in told if one.outcome.embedding is not None])
    fitness = np.array([o.outcome.evaluation.score.fitness for o in told if o.outcome.evaluation])
    return [told[place] for place in distinct(vectors, fitness, NEAREST)]


def _id(one: Told) -> str:
    assert one.outcome.candidate
    return one.outcome.candidate.prompt_id


def _find(one: Told, rates: Mapping[str, float]) -> Find:
    candidate, evaluation = one.outcome.candidate, one.outcome.evaluation
    assert candidate
    assert evaluation
    return Find(
        candidate.prompt_id,
        candidate.text,
        round(evaluation.score.fitness, 4),
        round(evaluation.score.refusal_rate, 4),
        round(rates[candidate.prompt_id], 4),
        one.tokens,
    )


async def run_arm(
    parts: Parts, arm: str, config: Config, folder: Path, rates: MutableMapping[str, float]
) -> Line:
    ended = await search(parts, config, folder / f"{config.name}.db")
    found, n_hits, asked, confirmed = await finds(parts, config, ended, rates)
    spent = ended.progress.spent
    return Line(
        arm=arm,
        seed=config.seed,
        budget=config.budget.target_tokens or 0,
        target_tokens=spent.target_tokens,
        evaluations=spent.evaluations,
        proposals=spent.proposals,
        samples=ended.progress.samples,
        rejected=dict(ended.progress.rejected),
        hits=n_hits,
        asked=asked,
        confirmed=confirmed,
        finds=found,
        reason=ended.reason,
        wall_s=round(ended.wall_s, 1),
        cpu_s=round(ended.cpu_s, 1),
    )


def _read_rates(file: Path) -> dict[str, float]:
    if not file.exists():
        return {}
    known: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return known


def _write_rates(file: Path, rates: Mapping[str, float]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(rates), encoding="utf-8")
    new.replace(file)


async def run_all(options: argparse.Namespace, configs: Mapping[tuple[str, int], Config]) -> None:
    """The runs that are not in the file yet, seed by seed, so that arms share what they can."""
    out: Path = options.out
    rates_file = out.with_suffix(".confirmed.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {(line.arm, line.seed) for line in read(out)}
    left = {key: config for key, config in configs.items() if key not in done}
    if not left:
        return
    rates = _read_rates(rates_file)
    parts = load(next(iter(left.values())), options.threads)
    seed_before = None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep_stores or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for (arm, seed), config in left.items():
            if seed != seed_before:
                parts.engine.forget()
                seed_before = seed
            (folder / f"{config.name}.db").unlink(missing_ok=True)  # of a run that was cut off
            line = await run_arm(parts, arm, config, folder, rates)
            _write_rates(rates_file, rates)
            append(out, line)
            shown = asdict(replace(line, finds=())) | {"finds": len(line.finds)}
            print(json.dumps(shown), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("out/search_efficiency.jsonl"))
    parser.add_argument("--tokens", type=int, default=TOKENS, help="target tokens of each run")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each arm")
    parser.add_argument("--arms", default=",".join(arms.ARMS), help="comma-separated")
    parser.add_argument("--seed-prompts", type=int, default=arms.SEED_PROMPTS)
    parser.add_argument("--batch", type=int, default=arms.BATCH)
    parser.add_argument("--model", default="local:smollm2-overcautious")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--resume", action="store_true", help="go on with the file that is there")
    parser.add_argument("--keep-stores", type=Path, help="a folder for the runs' SQLite files")
    parser.add_argument("--report", action="store_true", help="only make the table and the plots")
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--plots", type=Path, default=Path("docs"))
    options = parser.parse_args()
    if options.report:
        print(json.dumps(search_report.write(read(options.out), options.page, options.plots)))
        return
    if options.out.exists() and not options.resume:
        parser.error(f"{options.out} is there: go on with --resume, or name another --out")
    other = next((line for line in read(options.out) if line.budget != options.tokens), None)
    if other is not None:
        parser.error(f"{options.out} has runs of {other.budget} tokens: --tokens {other.budget}")
    names = [name.strip() for name in options.arms.split(",")]
    unknown = [name for name in names if name not in arms.ARMS]
    if unknown:
        parser.error(f"--arms: {unknown[0]!r} is not one of {', '.join(arms.ARMS)}")
    try:
        configs = {
            (name, seed): arms.config(
                name,
                seed,
                {"target_tokens": options.tokens},
                model=options.model,
                seed_prompts=options.seed_prompts,
                batch=options.batch,
            )
            for seed in range(options.seeds)
            for name in names
        }
    except ConfigError as error:
        sys.exit(str(error))
    asyncio.run(run_all(options, configs))
    print(json.dumps(search_report.figures(read(options.out))))


if __name__ == "__main__":
    main()
