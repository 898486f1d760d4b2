"""The tables. Identifiers are content hashes, so inserting a thing twice is harmless.

A prompt, its samples and their verdicts belong to everybody; a proposal and an evaluation belong to
one run. Times are UTC. NaN never enters a column: unknown is NULL with its reason beside it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.columns import AnyText as AnyText
from db.columns import storable as storable
from db.columns import utc_now as utc_now

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMES)


def _of_people(table: str, column: str) -> Index:
    """Of the rows that bear a person's name: few among millions. `db.safety.is_of_people` asks for it."""
    rows = sql(f"substr({column}, 1, 6) = 'human:'")
    return Index(f"ix_{table}_people", column, sqlite_where=rows, postgresql_where=rows)


class Target(Base):
    """The model under test; see `fitness.types.Target` for what makes two of them differ."""

    __tablename__ = "targets"

    target_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    model: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str | None] = mapped_column(Text)
    template: Mapped[str] = mapped_column(Text)
    system_prompt: Mapped[str | None] = mapped_column(Text)
    temperature: Mapped[float]
    top_p: Mapped[float]
    top_k: Mapped[int]
    max_tokens: Mapped[int]
    # The frame in which the instruction reaches it, with the frame's own hash where it has one.
    surface: Mapped[str] = mapped_column(String(64), server_default=sql("'chat'"))
    first_token: Mapped[str | None] = mapped_column(Text)  # JSON of the rule; NULL: none
    engine: Mapped[str] = mapped_column(Text)  # of the first run that asked it
    dtype: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(Text)


class Run(Base):
    """One search, or one evaluation of a data set. `config` is the resolved config as JSON; `wall_s`
    adds up over resumes."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'finished', 'interrupted', 'failed')", "status"),
        CheckConstraint("kind IN ('search', 'evaluate')", "kind"),
    )

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    kind: Mapped[str] = mapped_column(String(16), server_default=sql("'search'"))
    status: Mapped[str] = mapped_column(String(16))
    config: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    target_id: Mapped[str | None] = mapped_column(ForeignKey("targets.target_id"))
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime] = mapped_column(DateTime, default=utc_now)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime)
    stop_reason: Mapped[str | None] = mapped_column(Text)
    wall_s: Mapped[float] = mapped_column(default=0.0)
    replica_busy: Mapped[float | None]
    # From the config: the refusal rate from which a harmless prompt is an over-refusal.
    threshold: Mapped[float] = mapped_column(server_default=sql("0.5"))
    # Who holds the run now: another process must not go on with it while this one lives.
    host: Mapped[str | None] = mapped_column(Text)
    pid: Mapped[int | None]
    process_started: Mapped[float | None]  # seconds since the epoch; a pid alone may be reused
    heartbeat_at: Mapped[datetime | None] = mapped_column(DateTime)


class RunSummary(Base):
    """What `show RUN` says of a run that has ended: see `db.summaries`."""

    __tablename__ = "run_summaries"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    form: Mapped[int]  # another one: of another version, and reckoned anew
    summary: Mapped[str] = mapped_column(Text)  # JSON


class Replica(Base):
    """A replica of a run as the last heartbeat of its last life saw it; see
    `workers.status.ReplicaStatus`."""

    __tablename__ = "replicas"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    pool: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    queue: Mapped[int]
    finished: Mapped[int]
    tokens: Mapped[int] = mapped_column(BigInteger)
    tokens_per_s: Mapped[float]
    busy: Mapped[float]
    restarts: Mapped[int]


class Prompt(Base):
    """A text, once, whoever proposed it. `prompt_id` hashes the normalised text."""

    __tablename__ = "prompts"

    prompt_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    text: Mapped[str] = mapped_column(AnyText)
    source: Mapped[str | None] = mapped_column(AnyText)  # of a seed
    licence: Mapped[str | None] = mapped_column(AnyText)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utc_now)


class PromptSource(Base):
    """Where a prompt came from: a row of a data set that holds it. A prompt may have many."""

    __tablename__ = "prompt_sources"
    __table_args__ = (Index(None, "source", "label"),)

    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), primary_key=True)
    source: Mapped[str] = mapped_column(String(120), primary_key=True)
    row_key: Mapped[str] = mapped_column(String(200), primary_key=True)  # its own id, or row number
    licence: Mapped[str | None] = mapped_column(AnyText)
    label: Mapped[str | None] = mapped_column(AnyText)  # as the file says; never a gate's decision
    category: Mapped[str | None] = mapped_column(AnyText)
    imported_at: Mapped[datetime] = mapped_column(DateTime, default=utc_now)


class ScreenedBy(StrEnum):
    """The guesses that turn proposals away. Another run may have stored the opening of a prompt that
    the predictor turned away here, so the table of openings does not tell."""

    PREDICTOR = "predictor"
    OPENING = "opening"


class Proposal(Base):
    """One proposal of a run: asked for, perhaps become a prompt, ended as evaluated or failed."""

    __tablename__ = "proposals"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'evaluated', 'failed')", "status"),
        UniqueConstraint("run_id", "completed_order"),
        Index(None, "prompt_id"),
        # What is not harmless is rare among the evaluated, and asked for; the rest is most of them.
        Index(
            "ix_proposals_not_harmless",
            "safety",
            "status",
            "prompt_id",
            sqlite_where=sql("safety <> 'harmless'"),
            postgresql_where=sql("safety <> 'harmless'"),
        ),
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    proposal_index: Mapped[int] = mapped_column(primary_key=True)
    operator: Mapped[str] = mapped_column(String(64))
    strategy: Mapped[str] = mapped_column(String(64))
    assignment_seed: Mapped[int] = mapped_column(BigInteger)
    asked_after: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    completed_order: Mapped[int | None]  # place in the order in which the run's proposals ended
    prompt_id: Mapped[str | None] = mapped_column(ForeignKey("prompts.prompt_id"))
    # As written here; the row in `prompts` keeps the spelling that came first.
    text: Mapped[str | None] = mapped_column(AnyText)
    topic: Mapped[str | None] = mapped_column(AnyText)
    seed_prompt_id: Mapped[str | None] = mapped_column(String(32))
    rationale: Mapped[str | None] = mapped_column(AnyText)
    failure_kind: Mapped[str | None] = mapped_column(String(32))
    failure_message: Mapped[str | None] = mapped_column(AnyText)
    # Which decisions and which vector of the prompt are this proposal's: [[gate, version], ...] as
    # JSON, and the embedder. NULL: it had none.
    gates: Mapped[str | None] = mapped_column(Text)
    embedder: Mapped[str | None] = mapped_column(String(120))
    # What endpoints charged for all of it, drafting, gates, samples and verdicts. NULL: not recorded.
    cost_usd: Mapped[float | None]
    # P(refusal) that the predictor guessed before the target was asked, and whether the proposal went
    # through whatever was guessed. NULL: it was not screened.
    guess: Mapped[float | None]
    is_blind: Mapped[bool | None]
    # Which guess turned it away (`ScreenedBy`). NULL: none did.
    screened_by: Mapped[str | None] = mapped_column(String(16))
    # What the run's gates and people say together, kept right by `db.safety`. NULL: not gated. A
    # filter for queries; what leaves the database asks the decisions themselves.
    safety: Mapped[str | None] = mapped_column(String(16))


class Lineage(Base):
    """The parents of a proposal, by their own proposals in the same run."""

    __tablename__ = "lineage"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "proposal_index"], ["proposals.run_id", "proposals.proposal_index"]
        ),
        Index(None, "parent_prompt_id", "run_id"),
    )

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    proposal_index: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    parent_prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"))


class Evaluation(Base):
    """The fitness of one prompt on one target in one run; the columns are those of
    `fitness.types.Score`. Over several targets it is computed from these rows, never stored. A prompt
    that was sampled again in its run has several: all but the newest are superseded."""

    __tablename__ = "evaluations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "proposal_index"], ["proposals.run_id", "proposals.proposal_index"]
        ),
        Index(None, "prompt_id", "target_id"),
        # Every order of `db.query`, by itself and within a run, a target and a strategy.
        *(
            Index(
                f"ix_evaluations_{'_'.join([*within, by])}", *within, sql(f"{by} DESC"), "prompt_id"
            )
            for by in ("fitness", "refusal_rate")
            for within in ((), ("run_id",), ("target_id",), ("strategy",))
        ),
        # All that the counts by run, target and strategy need.
        Index(
            "ix_evaluations_tally",
            "run_id",
            "target_id",
            "strategy",
            "safety",
            "is_superseded",
            "refusal_rate",
            "fitness",
        ),
    )

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    proposal_index: Mapped[int] = mapped_column(primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"))
    target_id: Mapped[str] = mapped_column(ForeignKey("targets.target_id"), primary_key=True)
    fitness: Mapped[float]
    refusal_term: Mapped[float]
    confidence: Mapped[float | None]
    entropy: Mapped[float | None]
    refusal_rate: Mapped[float]
    refusal_low: Mapped[float]
    refusal_high: Mapped[float]
    n_samples: Mapped[int]
    n_unscored: Mapped[int]
    n_new: Mapped[int]
    target_tokens: Mapped[int]
    prompt_tokens: Mapped[int]
    engine_s: Mapped[float]
    # [[judge, version], ...] as JSON of the judges of its samples. NULL: not known.
    judges: Mapped[str | None] = mapped_column(Text)
    is_superseded: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Of its proposal; here so that an index has them beside the fitness.
    strategy: Mapped[str] = mapped_column(String(64))
    safety: Mapped[str] = mapped_column(String(16))


class Sample(Base):
    """One response of a target to a prompt; `run_id` is the run that paid for it."""

    __tablename__ = "samples"

    target_id: Mapped[str] = mapped_column(ForeignKey("targets.target_id"), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), primary_key=True)
    sample_index: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(AnyText)
    reasoning: Mapped[str | None] = mapped_column(AnyText)
    n_tokens: Mapped[int]
    logprob_sum: Mapped[float | None]
    sampling_logprob_sum: Mapped[float | None]
    finish_reason: Mapped[str] = mapped_column(String(16))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utc_now)


class Opening(Base):
    """How a target's response to a prompt would begin; `run_id` is the run that paid for it.
    `tokens` is JSON, [[token, log-probability], ...], likeliest first."""

    __tablename__ = "openings"

    target_id: Mapped[str] = mapped_column(ForeignKey("targets.target_id"), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), primary_key=True)
    tokens: Mapped[str] = mapped_column(Text)
    n_prompt_tokens: Mapped[int]
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), index=True)


class Verdict(Base):
    """What one judge in one version said of a sample: a probability, or why there is none."""

    __tablename__ = "verdicts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["target_id", "prompt_id", "sample_index"],
            ["samples.target_id", "samples.prompt_id", "samples.sample_index"],
        ),
        CheckConstraint("(p_refusal IS NULL) <> (unscored_reason IS NULL)", "scored_or_not"),
        _of_people("verdicts", "judge"),
    )

    target_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sample_index: Mapped[int] = mapped_column(primary_key=True)
    judge: Mapped[str] = mapped_column(String(120), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    p_refusal: Mapped[float | None]
    unscored_reason: Mapped[str | None] = mapped_column(AnyText)
    response_class: Mapped[str | None] = mapped_column(String(16))


class Disagreement(Base):
    """A sample of which one judge says refusal and another answer, people being judges too. Follows
    from `verdicts`; kept right by `db.disagree`."""

    __tablename__ = "disagreements"
    __table_args__ = (
        ForeignKeyConstraint(
            ["target_id", "prompt_id", "sample_index"],
            ["samples.target_id", "samples.prompt_id", "samples.sample_index"],
        ),
    )

    target_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sample_index: Mapped[int] = mapped_column(primary_key=True)


class Cliff(Base):
    """How a refusal score ran over the thinking of one sample, by one probe in one version; see
    `fitness.types.CliffTrace`. What could not be traced is in `untraced`, never here."""

    __tablename__ = "cliffs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["target_id", "prompt_id", "sample_index"],
            ["samples.target_id", "samples.prompt_id", "samples.sample_index"],
        ),
        CheckConstraint("kind IN ('cliff', 'inverse', 'none')", "kind"),
        Index("ix_cliffs_cliff", sql("cliff DESC"), "prompt_id"),
        Index(None, "prompt_id"),
        Index(None, "kind", "prompt_id"),
    )

    target_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sample_index: Mapped[int] = mapped_column(primary_key=True)
    probe: Mapped[str] = mapped_column(String(120), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    plateau: Mapped[float]  # refusal score over the thinking tokens, 0 to 1
    final: Mapped[float]  # refusal score at the last token before the answer, 0 to 1
    cliff: Mapped[float]  # plateau - final, -1 to 1
    position: Mapped[int | None]  # token of the thinking at which the score falls; NULL: nowhere
    n_tokens: Mapped[int]  # of the thinking
    kind: Mapped[str] = mapped_column(String(16))
    # Mean score of the top fifth of the thinking tokens. NULL, as `scores`: of a trace that was stored
    # before these were kept.
    plateau_top: Mapped[float | None]
    # The trace: float32, little-endian, one score for each token of the thinking and then for those
    # from its closing mark to the last one before the answer.
    scores: Mapped[bytes | None] = mapped_column(LargeBinary)


class Untraced(Base):
    """A sample that a probe could not trace, and why. It is in `cliffs` or here, never in both."""

    __tablename__ = "untraced"
    __table_args__ = (
        ForeignKeyConstraint(
            ["target_id", "prompt_id", "sample_index"],
            ["samples.target_id", "samples.prompt_id", "samples.sample_index"],
        ),
    )

    target_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sample_index: Mapped[int] = mapped_column(primary_key=True)
    probe: Mapped[str] = mapped_column(String(120), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(AnyText)


class Signature(Base):
    """What a target thinks of a prompt and means to do with it, by its hidden states and one guard in
    one version; see `fitness.types.Signed`."""

    __tablename__ = "signatures"
    __table_args__ = (
        CheckConstraint(
            "signature IN ('over_refused', 'rightly_refused', 'rightly_answered', 'suppressed')",
            "signature",
        ),
        Index(None, "signature", "prompt_id"),
        Index(None, "prompt_id"),
    )

    target_id: Mapped[str] = mapped_column(ForeignKey("targets.target_id"), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), primary_key=True)
    guard: Mapped[str] = mapped_column(String(120), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    delta_harmful: Mapped[float]  # -2 to 2; of at least the guard's threshold: thought harmful
    delta_refuse: Mapped[float]  # -2 to 2; above 0: means to refuse
    # Of the samples that the signature goes by. NULL: by what the target means to do, `delta_refuse`.
    refusal_rate: Mapped[float | None]
    signature: Mapped[str] = mapped_column(String(24))


class GateDecision(Base):
    """What one safety gate in one version said of a prompt."""

    __tablename__ = "gate_decisions"
    __table_args__ = (
        CheckConstraint("outcome IN ('harmless', 'controversial', 'harmful')", "outcome"),
        _of_people("gate_decisions", "gate"),
    )

    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), primary_key=True)
    gate: Mapped[str] = mapped_column(String(120), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16))
    p_harmful: Mapped[float | None]
    reason: Mapped[str] = mapped_column(AnyText, default="")


class Embedding(Base):
    """The unit vector of a prompt: `dim` float32, little-endian."""

    __tablename__ = "embeddings"

    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), primary_key=True)
    embedder: Mapped[str] = mapped_column(String(120), primary_key=True)
    dim: Mapped[int]
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class Embedder(Base):
    """A model that stored vectors are of. `number` is short for its name."""

    __tablename__ = "embedders"

    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    dim: Mapped[int]


class BoundaryPair(Base):
    """A refused prompt and the nearest answered one; `run_id` is the run that it was found for."""

    __tablename__ = "boundary_pairs"
    __table_args__ = (
        CheckConstraint("source IN ('lineage', 'span')", "source"),
        Index("ix_boundary_pairs_smallest", "n_words", sql("cosine DESC"), "refused_prompt_id"),
        Index(None, "answered_prompt_id"),
    )

    target_id: Mapped[str] = mapped_column(ForeignKey("targets.target_id"), primary_key=True)
    refused_prompt_id: Mapped[str] = mapped_column(
        ForeignKey("prompts.prompt_id"), primary_key=True
    )
    answered_prompt_id: Mapped[str] = mapped_column(
        ForeignKey("prompts.prompt_id"), primary_key=True
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), index=True)
    # [{"start", "removed", "inserted"}, ...] as JSON over the words of the refused prompt.
    edit: Mapped[str] = mapped_column(AnyText)
    source: Mapped[str] = mapped_column(String(16))
    n_words: Mapped[int]
    cosine: Mapped[float]
    refused_rate: Mapped[float]
    refused_n: Mapped[int]
    answered_rate: Mapped[float]
    answered_n: Mapped[int]
    clear: Mapped[bool]  # both intervals lie wholly on their sides of the threshold
    target_tokens: Mapped[int]  # generated for the probes of this prompt
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utc_now)


class WrittenResponse(Base):
    """A response that a writer made for a prompt which a target refuses. `written_id` is a hash of prompt,
    writer, version, round and number, so that the same one is written once."""

    __tablename__ = "written_responses"

    written_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_id"), index=True)
    writer: Mapped[str] = mapped_column(String(120))
    version: Mapped[str] = mapped_column(String(64))
    round: Mapped[int]  # 0: written at once; n: after n rounds of advice
    number: Mapped[int]  # within its round
    # What it was bettered from.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("written_responses.written_id"))
    text: Mapped[str] = mapped_column(AnyText)
    finish_reason: Mapped[str] = mapped_column(String(16))
    chain: Mapped[str | None] = mapped_column(AnyText)  # the plan that it follows, as JSON
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utc_now)


class WrittenScore(Base):
    """What one scorer in one version said of a written response; see `fitness.constructive`."""

    __tablename__ = "written_scores"
    __table_args__ = (
        CheckConstraint("(score IS NULL) <> (unscored_reason IS NULL)", "scored_or_not"),
    )

    written_id: Mapped[str] = mapped_column(
        ForeignKey("written_responses.written_id"), primary_key=True
    )
    scorer: Mapped[str] = mapped_column(String(120), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    # -1, 0 or 1; NULL: the scorer cannot see it.
    politeness: Mapped[int | None]
    willingness: Mapped[int | None]
    task: Mapped[int | None]
    logic: Mapped[int | None]
    information: Mapped[int | None]
    safety: Mapped[float | None]  # 0 to 1; NULL: not seen
    p_refusal: Mapped[float | None]
    response_class: Mapped[str | None] = mapped_column(String(16))
    score: Mapped[float | None]  # 0 to 1
    unscored_reason: Mapped[str | None] = mapped_column(AnyText)
    advice: Mapped[str] = mapped_column(AnyText, default="")
