"""Reading the record for people: runs, prompts, lineage. Writes nothing.

Each function takes a store and gives plain rows; each sees one state of the database, also while a
search writes to it. What a row is worth is decided in `db.found`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, func, select

from db import boundary, course, found, lookup, summaries
from db.filters import Asked
from db.holder import is_alive
from db.lineage import lineage as lineage
from db.models import Evaluation, Opening, Proposal, Replica, Run, Sample, Target, Verdict
from db.query import Query
from db.shown import COLUMNS as COLUMNS
from workers.interface import FailureKind

if TYPE_CHECKING:
    from db.store import Store


# Runs


def find_run(store: Store, run: str) -> str:
    """The id of a run given by name, id or unique beginning of an id.

    Raises:
        ConfigError: none or several; the nearest is named.
    """
    with store.reading() as connection:
        return lookup.find_run(connection, run)


def named_run(store: Store, run: str) -> tuple[str, str]:
    """(Id, name) of a run given as in `find_run`, which it raises like."""
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        name = connection.scalar(select(Run.name).where(Run.run_id == run_id))
    return run_id, str(name)


def runs(store: Store) -> list[dict[str, Any]]:
    """Every run, newest last: run (its id), name, status, started (UTC), over_refusals, and its kind:
    search or evaluate."""
    with store.reading() as connection:
        rows = connection.execute(select(Run.__table__).order_by(Run.started_at, Run.run_id)).all()
        hits = {run: told["over_refusals"] for run, told in summaries.all_kept(connection).items()}
        hits |= found.n_over_refusals(connection, [r.run_id for r in rows if r.run_id not in hits])
    return [
        {
            "run": row.run_id,
            "name": row.name,
            "status": _status(row),
            "started": row.started_at.isoformat(timespec="seconds") + "Z",
            "over_refusals": hits.get(row.run_id, 0),
            "kind": row.kind,
        }
        for row in rows
    ]


def run_summary(store: Store, run: str) -> dict[str, Any]:
    """The counts of one run, as `show RUN --json` prints them.

    samples, target_tokens, prompt_tokens (read by the target for its evaluations) and money_usd
    (charged by endpoints) are what this run paid for; cache_hits are evaluations that cost nothing;
    without_confidence are evaluations whose fitness is the refusal term alone, because the target's
    engine gave no log-probabilities; a prompt that was sampled again counts twice among evaluations,
    what it is worth is said by the newest; over_refusals leave the seeds out (those are seed_over_refusals); clusters are
    over-refusals no two of which have a cosine of `alike.CLUSTER_COSINE` or more; rejected counts
    proposals by the kind of their failure; response_classes counts the run's own samples by what the
    judge that decided called them; replicas are those of the run's last life, as its last
    heartbeat saw them. Samples of boundary pairs count among samples, not among target_tokens. Over
    several targets an evaluation counts once, by its combined score; targets lists the parts. How the
    search went about it (screened, strategies and the like) is told by `course.of_run`.
    """
    with store.reading() as connection:
        run_id = lookup.find_run(connection, run)
        return summaries.kept(connection, run_id) or reckon(connection, run_id)


def reckon(connection: Connection, run_id: str) -> dict[str, Any]:
    """`run_summary` from the rows themselves."""
    row = connection.execute(select(Run.__table__).where(Run.run_id == run_id)).one()
    newest = Evaluation.is_superseded.is_(False)
    each = (  # one row for each evaluation, however many targets it has
        select(
            func.sum(Evaluation.target_tokens).label("target_tokens"),
            func.sum(Evaluation.prompt_tokens).label("prompt_tokens"),
            func.sum(Evaluation.n_unscored).filter(newest).label("n_unscored"),
            func.sum(Evaluation.n_new).label("n_new"),
            func.count()
            .filter(newest, Evaluation.confidence.is_(None))
            .label("without_confidence"),
            func.max(Evaluation.fitness).filter(newest).label("fitness"),
        )
        .where(Evaluation.run_id == run_id)
        .group_by(Evaluation.proposal_index)
        .subquery()
    )
    sums = connection.execute(
        select(
            func.count().label("evaluations"),
            func.coalesce(func.sum(each.c.target_tokens), 0).label("target_tokens"),
            func.coalesce(func.sum(each.c.prompt_tokens), 0).label("prompt_tokens"),
            func.coalesce(func.sum(each.c.n_unscored), 0).label("unscored"),
            func.count().filter(each.c.without_confidence > 0).label("without_confidence"),
            func.count().filter(each.c.n_new == 0).label("cache_hits"),
            func.max(each.c.fitness).label("best_fitness"),
        )
    ).one()
    money_usd = connection.scalar(
        select(func.sum(Proposal.cost_usd)).where(Proposal.run_id == run_id)
    )
    samples = connection.scalar(
        select(func.count()).select_from(Sample).where(Sample.run_id == run_id)
    )
    unscored = connection.execute(
        select(
            func.count().label("samples"),
            func.coalesce(func.sum(Sample.n_tokens), 0).label("tokens"),
        )
        .select_from(Sample)
        .join(
            Proposal,
            and_(Proposal.run_id == Sample.run_id, Proposal.prompt_id == Sample.prompt_id),
        )
        .where(Sample.run_id == run_id, Proposal.failure_kind == FailureKind.UNSCORED)
    ).one()
    openings = connection.scalar(  # of prompts that were not evaluated, one token each
        select(func.count(func.distinct(Opening.prompt_id)))
        .select_from(Opening)
        .join(
            Proposal,
            and_(Proposal.run_id == Opening.run_id, Proposal.prompt_id == Opening.prompt_id),
        )
        .where(
            Opening.run_id == run_id,
            Proposal.failure_kind.in_([FailureKind.SCREENED, FailureKind.UNSCORED]),
        )
    )
    rejected = connection.execute(
        select(Proposal.failure_kind, func.count().label("n"))
        .where(Proposal.run_id == run_id, Proposal.failure_kind.is_not(None))
        .group_by(Proposal.failure_kind)
        .order_by(Proposal.failure_kind)
    ).all()
    over = found.run_facts(connection)[run_id].over
    parts = _targets(connection, run_id)
    best = sums.best_fitness
    if over is not None:
        whole = found.combined(found.load_found(connection, run_id=run_id))
        best = max((f.score.fitness for f in whole if f.score), default=None)
    hits = found.over_refusals(connection, run_id)
    over_refusals = [f for f in hits if not f.is_seed]
    clusters = found.n_clusters(connection, over_refusals)
    replicas = _replicas(connection, run_id)
    classes = _response_classes(connection, run_id)
    boundary_pairs = boundary.count(connection, run_id)
    went = course.of_run(connection, run_id, over_refusals)
    return {
        "run": run_id,
        "name": row.name,
        "status": _status(row),
        "stop_reason": row.stop_reason,
        "evaluations": sums.evaluations,
        "samples": samples or 0,
        "target_tokens": int(sums.target_tokens + unscored.tokens + (openings or 0)),
        "prompt_tokens": int(sums.prompt_tokens),
        "money_usd": money_usd or 0.0,
        "over_refusals": len(over_refusals),
        "clusters": clusters,
        "boundary_pairs": boundary_pairs,
        "seed_over_refusals": len(hits) - len(over_refusals),
        "best_fitness": best,
        "without_confidence": sums.without_confidence,
        "unscored": int(sums.unscored + unscored.samples),
        "wall_s": row.wall_s,
        "replica_busy": row.replica_busy,
        "cache_hits": sums.cache_hits,
        "rejected": {row.failure_kind: row.n for row in rejected},
        "response_classes": classes,
        "replicas": replicas,
        "targets": parts,
        **went,
    }


def _targets(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """target (its id), model, system_prompt, evaluations, target_tokens, refusal_rate (the mean over
    its evaluations), refused (those at the run's threshold or above) and best_fitness of each."""
    threshold = found.run_facts(connection)[run_id].threshold
    newest = Evaluation.is_superseded.is_(False)
    rows = connection.execute(
        select(
            Evaluation.target_id.label("target"),
            Target.model,
            Target.system_prompt,
            func.count().label("evaluations"),
            func.sum(Evaluation.target_tokens).label("target_tokens"),
            func.avg(Evaluation.refusal_rate).filter(newest).label("refusal_rate"),
            func.count().filter(newest, Evaluation.refusal_rate >= threshold).label("refused"),
            func.max(Evaluation.fitness).filter(newest).label("best_fitness"),
        )
        .join(Target, Target.target_id == Evaluation.target_id)
        .where(Evaluation.run_id == run_id)
        .group_by(Evaluation.target_id, Target.model, Target.system_prompt)
        .order_by(Evaluation.target_id)
    ).mappings()
    return [{**row, "target_tokens": int(row["target_tokens"])} for row in rows]


def _response_classes(connection: Connection, run_id: str) -> dict[str, int]:
    """By frequency; empty where the judge that decided tells no classes apart."""
    judge, version = found.decider(connection, run_id) or ("", "")
    rows = connection.execute(
        select(Verdict.response_class, func.count().label("n"))
        .join(
            Sample,
            and_(
                Sample.target_id == Verdict.target_id,
                Sample.prompt_id == Verdict.prompt_id,
                Sample.sample_index == Verdict.sample_index,
            ),
        )
        .where(
            Sample.run_id == run_id,
            Verdict.judge == judge,
            Verdict.version == version,
            Verdict.response_class.is_not(None),
        )
        .group_by(Verdict.response_class)
        .order_by(func.count().desc(), Verdict.response_class)
    )
    return {row.response_class: row.n for row in rows}


def _replicas(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """pool, number, state, queue, finished, tokens, tokens_per_s, busy and restarts of each."""
    rows = connection.execute(
        select(Replica.__table__)
        .where(Replica.run_id == run_id)
        .order_by(Replica.pool.desc(), Replica.number)
    ).mappings()
    return [{key: value for key, value in row.items() if key != "run_id"} for row in rows]


def _status(run: Row[Any]) -> str:
    """As stored; but a run whose process was killed is interrupted, and can be resumed."""
    return "interrupted" if run.status == "running" and not is_alive(run) else str(run.status)


# Prompts


def query(
    store: Store,
    *,
    run: str | None = None,
    target: str | None = None,
    strategy: str | None = None,
    min_refusal: float | None = None,
    safety: str | None = None,
    like: str | None = None,
    sort: str = "fitness",
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Prompts as plain rows, one for each run in which a prompt was evaluated.

    With safety "harmful" or "controversial" the prompts that the gates turned away are there too,
    without a refusal rate. `fitness_terms` says what the fitness is made of: "refusal" alone where the
    engine gave no log-probabilities, else "refusal+confidence". `novelty` (with sort="novelty") is the mean cosine distance to the five
    nearest other prompts of the result.

    Args:
        run: name or id.  target: model, or beginning of a target id.
        strategy: one strategy or one family of them.  like: text that the prompt contains.
        sort: "fitness", "refusal" or "novelty", largest first; ties by prompt id.

    Raises:
        ConfigError: an unknown run, target, strategy, safety or sort, or a number out of range.
    """
    asked = Asked(run, target, strategy, min_refusal, safety, like)
    return Query(store, asked, sort, limit).rows()


# The file itself


def integrity_problems(store: Store) -> list[str]:
    """What SQLite finds wrong with its file: broken pages, rows that point to nothing. Empty: sound."""
    with store.reading() as connection:
        if connection.dialect.name != "sqlite":
            connection.execute(select(func.count()).select_from(Run))
            return []
        found = [str(line) for (line,) in connection.exec_driver_sql("PRAGMA integrity_check")]
        problems = [line for line in found if line != "ok"]
        for table, row, above, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            problems.append(f"{table}: row {row} points to a row of {above} that is not there")
    return problems
