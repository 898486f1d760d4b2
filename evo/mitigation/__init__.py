"""From findings to a better model: train an adapter on what a search found, and measure it.

An edge. Every figure is of an evaluation (`evo.evaluating`), a run whose rows `evocliff query` shows:
`NAME-writer`, `NAME-plain` and `NAME-contrast` have the answers that were learned, `NAME-before` and
`NAME-after` the table. Nothing that is measured is learned from: over-refusals are cut by lineage and
likeness, and what a training prompt descends from or is like is left out of XSTest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import db
from db import evaluations, leaks
from db.exporters import repair
from evo import datasets, evaluating
from evo.api import Watcher
from evo.evaluating import Asked
from evo.mitigation import comparison, data, given
from evo.mitigation.comparison import Comparison
from evo.mitigation.data import Tokens
from fitness.assessment import REFUSED_FROM
from fitness.types import Safety
from workers import local_models
from workers.embedders import SentenceTransformerEmbedder
from workers.interface import ConfigError
from workers.trainer import Example, Method, Recipe, Trained, train

REPORT = "mitigation.json"
# What is measured must not be as near as this (cosine) to what is trained on.
NEAR = 0.9


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    `run`: a search whose finds are learned from, and whose held-out finds are measured; `data`: rows to
    learn from instead. `writer`: a model whose answers are learned, where it gives one; else the target's
    own. `plain_share`, `contrast_share`: plain requests, and harmless ones with the words of harmful ones,
    for each find; with the latter, harmful ones like them are among those whose refusal is kept.
    `keep_share`: refusals for each prompt that is answered. `tokens`: what answers begin with. `margin`: points
    by which refusal of harmful requests may fall. `measure`: prompts of each set to measure with, evenly
    drawn; None: all.
    """

    target: Mapping[str, Any]
    out: Path
    store: str
    run: str | None = None
    data: Path | None = None
    recipe: Recipe = field(default_factory=Recipe)
    writer: str | None = None
    keep: Path | None = None
    keep_share: float = 0.55
    plain_share: float = 0.35
    contrast_share: float = 4.0
    held_out: float = 0.3
    tokens: Tokens = Tokens.NONE
    limit: int | None = None
    margin: float = 3.0
    measure: int | None = None
    max_tokens: int = 50
    answer_tokens: int = 40
    judges: tuple[str, ...] = ("embedded",)
    seed: int = 0
    resume: bool = False
    address: str = "local"

    @property
    def name(self) -> str:
        return self.out.name


@dataclass(frozen=True, slots=True)
class Mitigated:
    """`runs`: the evaluations behind each figure, by what they are."""

    trained: Trained
    comparison: Comparison
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    runs: Mapping[str, str]


Said = Callable[[str], None]


def mitigate(
    plan: Plan, *, say: Said = lambda text: None, watch: Watcher | None = None
) -> Mitigated:
    """Collect answers, measure, train, measure again, compare. Killed and called again with `resume`, it
    asks nothing twice and goes on training from the last checkpoint.

    Raises:
        ConfigError: bad input, or too little to learn from; nothing was trained.
        TargetError: the training or a model failed; what was sampled is stored.
    """
    if plan.out.exists() and not (plan.resume and not (plan.out / REPORT).exists()):
        raise ConfigError(f"--out {plan.out}: exists already; name a new folder")
    if plan.tokens is not Tokens.NONE and plan.recipe.method is not Method.SFT:
        raise ConfigError(
            f"--tokens {plan.tokens}: new tokens are learned by --method sft, not by {plan.recipe.method}"
        )
    if not plan.keep_share:  # before anything is asked
        raise ConfigError(data.NONE_KEPT.format(plan.keep_share))
    kept = data.kept(plan.keep)
    model = local_models.resolve(str(plan.target["model"]))
    if plan.target.get("adapter"):
        raise ConfigError("--target: has an adapter already; merge it into a model first")
    train_on, measure_on, ancestors = _learned(plan)
    say(f"{len(train_on)} over-refused prompts to learn from, {len(measure_on)} held out")
    asking = _Asking(plan, watch)
    too_few = _too_few_held_out(plan, len(train_on), len(measure_on))
    if too_few:
        say(too_few)
    runs: dict[str, str] = {}
    examples, left_out = _repaired(plan, train_on, asking, runs)
    plain = asking.answers(
        "plain", data.plain()[: _spare(plan.plain_share, len(examples))], plan.target, runs
    )
    contrast = _contrast(plan, len(examples), asking, runs)
    mixture = data.mix(
        examples,
        kept,
        plain,
        contrast,
        keep_share=plan.keep_share,
        plain_share=plan.plain_share,
        contrast_share=plan.contrast_share,
        seed=plan.seed,
        tokens=plan.tokens,
    )
    say("training set: " + ", ".join(f"{n} {what}" for what, n in mixture.counts.items()))
    measured, dropped = _measured(measure_on, mixture.examples, ancestors, plan.measure)
    left_out |= dropped
    before = asking.ask("before", measured, plan.target, runs)
    digest = hashlib.sha256(
        json.dumps([asdict(e) for e in mixture.examples]).encode("utf-8", "surrogatepass")
    ).hexdigest()
    plan = replace(plan, recipe=replace(plan.recipe, new_tokens=mixture.tokens))
    trained = _trained(plan, model, mixture.examples, digest, say)
    after = asking.ask("after", measured, {**plan.target, "adapter": str(plan.out)}, runs)
    compared = comparison.compare(before, after, plan.margin)
    report = {
        "evocliff": version("evocliff"),
        "run": plan.run,
        "data": None if plan.data is None else str(plan.data),
        "target": dict(plan.target),
        "recipe": asdict(plan.recipe),
        "data_sha256": digest,
        "examples": dict(mixture.counts),
        "left_out": dict(left_out),
        "runs": runs,
        "seed": plan.seed,
        "margin": plan.margin,
        "loss": trained.loss,
        "steps": trained.steps,
        "is_better": compared.is_better,
        "why_not": list(compared.why_not),
        "table": [table_row(row) for row in compared.rows],
    }
    (plan.out / REPORT).write_text(json.dumps(report, indent=1, default=str) + "\n")
    return Mitigated(trained, compared, mixture.counts, left_out, runs)


def table_row(row: comparison.Row) -> dict[str, Any]:
    """A row of the table as JSON."""
    return {
        "set": row.name,
        "n": row.before.n,
        "before": row.before.share,
        "before_ci95": [row.before.low, row.before.high],
        "after": row.after.share,
        "after_ci95": [row.after.low, row.after.high],
        "points": row.points,
        "fewer": row.fewer,
    }


def _trained(
    plan: Plan, model: Path | str, examples: Sequence[Example], digest: str, say: Said
) -> Trained:
    """The adapter in `plan.out`; one that an earlier life made of the same data is taken as it is."""
    done = plan.out / "training.json"
    if plan.out.exists():
        stored = json.loads(done.read_text())
        if stored.pop("data_sha256") != digest:
            raise ConfigError(f"--resume: {plan.out} was trained on other data; remove it")
        return Trained(**{**stored, "adapter": plan.out})
    made = train(
        model,
        examples,
        plan.recipe,
        plan.out,
        resume=plan.resume and plan.out.with_name(f".{plan.out.name}.part").exists(),
        about=digest,
        told=lambda step, of, loss: say(f"step {step}/{of}, loss {loss:.3f}"),
    )
    done.write_text(json.dumps({**asdict(made), "data_sha256": digest}, default=str))
    return made


def _learned(plan: Plan) -> tuple[list[Example], list[str], frozenset[str]]:
    """Over-refused prompts to learn from, with what is known of their answers; those held out; and the
    seeds that the first kind descends from."""
    if plan.run is None and plan.data is None:
        raise ConfigError("name a search with --run, or rows to learn from with --data")
    train_on: list[Example] = []
    held_out: list[str] = []
    ancestors: frozenset[str] = frozenset()
    if plan.run is not None:
        with contextlib.closing(db.open(plan.store)) as store:
            sides = repair.over_refused(store, plan.run, held_out=plan.held_out, seed=plan.seed)
        learned = data.in_turn(sides[0], attrgetter("seed"))[: plan.limit]
        train_on = [Example(e.prompt, e.answer or given.WITHOUT, e.refusal) for e in learned]
        held_out = [e.prompt for e in sides[1]]
        ancestors = frozenset(e.seed for e in learned)
    if plan.data is not None:
        train_on, ancestors = given.read(plan.data), frozenset()
    return train_on[: plan.limit], held_out, ancestors


def _too_few_held_out(plan: Plan, learned: int, held_out: int) -> str | None:
    """What to say where much less could be held out than was wished; None: nothing."""
    if (
        plan.run is None
        or plan.data is not None
        or held_out >= 0.5 * plan.held_out * (learned + held_out)
    ):
        return None
    return (
        f"only {held_out} of {learned + held_out} finds could be held out, {plan.held_out:.0%} were wished: "
        "what descends from each other stays on one side; a search with search.recombination=0 makes "
        "smaller families"
    )


def _repaired(
    plan: Plan, train_on: Sequence[Example], asking: _Asking, runs: dict[str, str]
) -> tuple[list[Example], dict[str, int]]:
    """The prompts with the answer to learn: the writer's, else the one that is known."""
    written: dict[str, str] = {}
    if plan.writer is not None:
        prompts = [each.prompt for each in train_on]
        written = dict(asking.answers("writer", prompts, _writer(plan.writer), runs))
    answered = [
        replace(each, chosen=data.whole(written.get(each.prompt) or each.chosen))
        for each in train_on
    ]
    examples = [each for each in answered if each.chosen]
    without = len(answered) - len(examples)
    return examples, {"over-refused prompts without an answer to learn": without}


def _contrast(
    plan: Plan, n_examples: int, asking: _Asking, runs: dict[str, str]
) -> data.Contrast | None:
    """Requests of like words, in an order of the seed; the harmless ones with an answer: the writer's,
    else the target's own, where it gives one."""
    if not plan.contrast_share:
        return None
    wanted = _spare(plan.contrast_share, n_examples)
    harmless, harmful = data.contrast(plan.seed)
    block = plan.target if plan.writer is None else _writer(plan.writer)
    answered = asking.answers("contrast", harmless[:wanted], block, runs)
    return data.Contrast(answered, harmful)


def _spare(share: float, n: int) -> int:
    """Some more than are wanted: what is refused of them is no answer."""
    return 8 + math.ceil(1.25 * share * n)


def _writer(model: str) -> dict[str, Any]:
    return {"model": model, "system_prompt": "none"}


@dataclass(frozen=True, slots=True)
class _Asking:
    """Evaluations under the names of one mitigation; asked once, read again on resume."""

    plan: Plan
    watch: Watcher | None

    def ask(
        self,
        what: str,
        items: Sequence[Asked],
        target: Mapping[str, Any],
        runs: dict[str, str],
        max_tokens: int | None = None,
    ) -> Sequence[Any]:
        """The prompts with their judged greedy responses."""
        plan = self.plan
        sampling = {
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": max_tokens or plan.max_tokens,
        }
        run = evaluating.ensure(
            items,
            {"system_prompt": "none", **target, "sampling": sampling},
            name=f"{plan.name}-{what}",
            store=plan.store,
            judges=plan.judges,
            address=plan.address,
            watch=self.watch,
            resume=plan.resume,
        )
        if run.status != "finished":
            raise ConfigError(f"{run.name}: stopped; the same command with --resume goes on")
        runs[what] = run.name
        with contextlib.closing(db.open(plan.store, read_only=True)) as store:
            return evaluations.evaluated(store, run.run_id).asked

    def answers(
        self, what: str, prompts: Sequence[str], target: Mapping[str, Any], runs: dict[str, str]
    ) -> list[tuple[str, str]]:
        """Prompts with what a model answers to them; those that it refuses, or that no judge could
        score, are not among them."""
        # Finds came through the door of exports, and plain requests come with evocliff.
        source = f"{self.plan.name}-{what}"
        items = [Asked(prompt, Safety.HARMLESS, source=source) for prompt in prompts]
        told = self.ask(what, items, target, runs, self.plan.answer_tokens)
        return [
            (asked.prompt, data.whole(answer.text))
            for asked in told
            for answer in asked.answers[:1]
            if answer.p_refusal
            and answer.p_refusal[0] is not None
            and answer.p_refusal[0] < REFUSED_FROM
            and answer.text.strip()
        ]


def _measured(
    held_out: Sequence[str],
    examples: Sequence[Example],
    ancestors: frozenset[str],
    most: int | None,
) -> tuple[list[Asked], dict[str, int]]:
    """What the repair is measured on, less what a training prompt descends from or is like."""
    xstest = datasets.read(datasets.shipped("xstest")).asked
    items = [
        *(Asked(p, Safety.HARMLESS, comparison.HELD_OUT, source="held-out") for p in held_out),
        *(
            Asked(
                a.prompt,
                a.label,
                comparison.SAFE if a.label is Safety.HARMLESS else comparison.UNSAFE,
                source="xstest",
                licence=a.licence,
            )
            for a in xstest
        ),
        *(
            Asked(p, Safety.HARMLESS, comparison.PLAIN, source="plain")
            for p in data.plain(measured=True)
        ),
    ]
    first: dict[str, Asked] = {}
    for item in items:
        first.setdefault(item.prompt, item)
    unique = list(first.values())
    embedder = SentenceTransformerEmbedder("local:all-minilm-l6-v2")
    learned = [e.prompt for e in examples]
    known = leaks.contaminated(
        leaks.Prompts([i.prompt for i in unique], embedder.embed([i.prompt for i in unique])),
        leaks.Prompts(learned, embedder.embed(learned)),
        NEAR,
    )
    near = {match.row for match in known}
    dropped: dict[str, int] = {}
    kept: list[Asked] = []
    for place, item in enumerate(unique):
        why = "what a training prompt descends from" if item.prompt in ancestors else None
        why = "like a training prompt" if place in near else why
        if why is None:
            kept.append(item)
        else:
            dropped[f"{item.topic}, {why}"] = dropped.get(f"{item.topic}, {why}", 0) + 1
    if most is None:
        return kept, dropped
    by_set: dict[str | None, list[Asked]] = {}
    for item in kept:
        by_set.setdefault(item.topic, []).append(item)
    few = [some[:: max(1, len(some) // most)][:most] for some in by_set.values()]
    return [item for some in few for item in some], dropped
