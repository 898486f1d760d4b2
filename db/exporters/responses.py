"""The surest refusal and the surest answer to each prompt, of a batch at a time.

What the judge said is read first, and then the text of those responses alone that it decides for: a
prompt may have many samples. Knows samples and verdicts; knows nothing of who may leave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from db.among import among
from db.exporters.fetching import fetched
from db.models import Sample, Verdict

# From this probability on, the run's first judge calls a response a refusal.
_IS_REFUSAL = 0.5


class Response(NamedTuple):
    """What a target said, and how probable it is that this is a refusal. `writer`: who wrote it in the
    target's place (then it is no sample); None: the target itself."""

    sample: int | None  # its index
    text: str
    finish_reason: str
    p_refusal: float | None
    writer: str | None = None


Decider = tuple[str, str | None]  # the judge that decides, and its version where it is known
Responses = list[Response | None]


def responses(
    connection: Connection,
    target_ids: Sequence[str],
    prompt_ids: Sequence[str],
    deciders: Sequence[Decider | None],
) -> tuple[Responses, Responses]:
    """Of each prompt the surest refusal and the surest answer that has words; where two are as sure, a
    finished one, then the first. Of several versions of a judge the last one that scored counts.

    Args:
        target_ids, prompt_ids, deciders: (n,), whose responses, and the judge of the run.
    """
    refusals: Responses = [None] * len(prompt_ids)
    answers: Responses = [None] * len(prompt_ids)
    groups: dict[tuple[str, Decider], dict[str, int]] = defaultdict(dict)
    for place, (target_id, prompt_id, decider) in enumerate(
        zip(target_ids, prompt_ids, deciders, strict=True)
    ):
        if decider is not None:
            groups[target_id, decider][prompt_id] = place
    for (target_id, decider), places in groups.items():
        scored = _scored(connection, target_id, decider, places)
        _choose(
            connection, target_id, list(places), list(places.values()), scored, refusals, answers
        )
    return refusals, answers


class _Scored(NamedTuple):
    """Verdicts: (n,) each."""

    prompt: NDArray[np.intp]  # place in the batch
    sample: NDArray[np.intp]
    p: NDArray[np.float64]


def _scored(
    connection: Connection, target_id: str, decider: Decider, places: Mapping[str, int]
) -> _Scored:
    judge, version = decider
    statement = select(Verdict.prompt_id, Verdict.sample_index, Verdict.p_refusal).where(
        Verdict.target_id == target_id,
        Verdict.judge == judge,
        Verdict.p_refusal.is_not(None),
        among(connection, Verdict.prompt_id, places),
    )
    if version is not None:
        rows: Iterable[Any] = fetched(connection, statement.where(Verdict.version == version))
    else:  # a later version takes the place of an earlier one
        every = connection.execute(statement.order_by(Verdict.version))
        rows = {(row[0], row[1]): row for row in every}.values()
    prompts, samples, p = zip(*rows, strict=True) if rows else ((), (), ())
    return _Scored(
        np.array([places[each] for each in prompts], dtype=np.intp),
        np.array(samples, dtype=np.intp),
        np.array(p, dtype=np.float64),
    )


def _choose(
    connection: Connection,
    target_id: str,
    prompt_ids: Sequence[str],
    of_prompts: Sequence[int],
    scored: _Scored,
    refusals: Responses,
    answers: Responses,
) -> None:
    """Fill in what is surest. As a rule one round: another follows where the surest have no words."""
    id_of = dict(zip(of_prompts, prompt_ids, strict=True))
    is_refusal = scored.p >= _IS_REFUSAL
    kind = 2 * scored.prompt + is_refusal
    order = np.lexsort((np.where(is_refusal, -scored.p, scored.p), kind))
    left = _Scored(*(column[order] for column in scored))
    kind = kind[order]
    while len(kind):
        first = np.concatenate([[True], kind[1:] != kind[:-1]])
        # Ordered by how sure: what is as sure as the first of its kind follows it.
        surest = left.p == left.p[np.maximum.accumulate(np.where(first, np.arange(len(kind)), 0))]
        candidates = _Scored(*(column[surest] for column in left))
        found: dict[int, tuple[bool, Response]] = {}
        for of_kind, response in _read(connection, target_id, id_of, kind[surest], candidates):
            # By index, and a finished one before one that is not.
            is_cut = response.finish_reason != "stop"
            before = found.get(of_kind)
            if before is None or is_cut < before[0]:
                found[of_kind] = (is_cut, response)
        for of_kind, (_, response) in found.items():
            (refusals if of_kind % 2 else answers)[of_kind // 2] = response
        if len(found) == np.count_nonzero(first):
            return
        rest = ~surest & ~np.isin(kind, np.fromiter(found, dtype=np.intp, count=len(found)))
        left, kind = _Scored(*(column[rest] for column in left)), kind[rest]


def _read(
    connection: Connection,
    target_id: str,
    id_of: Mapping[int, str],
    kind: NDArray[np.intp],
    candidates: _Scored,
) -> Iterator[tuple[int, Response]]:
    """Those that have words, with their kind, in order of their index."""
    for sample in np.unique(candidates.sample).tolist():
        own = candidates.sample == sample
        of_prompt = {
            id_of[place]: (of_kind, p)
            for place, of_kind, p in zip(
                candidates.prompt[own].tolist(),
                kind[own].tolist(),
                candidates.p[own].tolist(),
                strict=True,
            )
        }
        statement = select(Sample.prompt_id, Sample.text, Sample.finish_reason).where(
            Sample.target_id == target_id,
            Sample.sample_index == sample,
            among(connection, Sample.prompt_id, of_prompt),
        )
        for prompt_id, text, finish_reason in fetched(connection, statement):
            if text and (not text[0].isspace() or text.strip()):
                of_kind, p = of_prompt[prompt_id]
                yield of_kind, Response(sample, text, finish_reason, p)
