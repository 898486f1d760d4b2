"""Several targets with the face of one: asks each, and combines what they are worth.

It knows workers by target id; where they run, and what is stored, it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fitness.targets import Over, combine
from fitness.types import Evaluation, EvaluationRequest, JudgedSample, Unscored
from workers.interface import Failure, FailureKind, Worker

Known = Callable[[str, Sequence[str]], Mapping[str, tuple[JudgedSample, ...]]]


@dataclass(frozen=True, slots=True)
class SeveralTargets:
    """`Worker` from `EvaluationRequest` to the combined `Evaluation`.

    All targets are asked at once; for the minimum one after the other, in the order given, and a
    prompt that one of them clearly answers (the interval of its refusal rate ends below `threshold`)
    goes no further: the minimum can only fall.

    A prompt that some target could not evaluate has no combined evaluation: it is a failure that
    keeps what the others were paid for.

    Args:
        workers: by target id, each for one target.
        known: stored samples of a target by prompt id; called in a thread.
    """

    workers: Mapping[str, Worker[EvaluationRequest, Evaluation]]
    over: Over
    known: Known

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        said: list[dict[str, Evaluation | Failure]] = [{} for _ in requests]
        if self.over.statistic == "min":
            for target_id in self.workers:
                asked = [i for i, so_far in enumerate(said) if _goes_on(requests[i], so_far)]
                await self._ask(target_id, requests, asked, said)
        else:
            everyone = range(len(requests))
            asking = [self._ask(target_id, requests, everyone, said) for target_id in self.workers]
            ended = await asyncio.gather(*asking, return_exceptions=True)
            for error in ended:
                if error is not None:
                    raise error
        return [_conclude(answers, self.over) for answers in said]

    async def _ask(
        self,
        target_id: str,
        requests: Sequence[EvaluationRequest],
        asked: Sequence[int],
        said: Sequence[dict[str, Evaluation | Failure]],
    ) -> None:
        """Write down in `said` what one target answers to the requests in these places."""
        if not asked:
            return
        prompt_ids = [requests[i].prompt_id for i in asked]
        known = await asyncio.to_thread(self.known, target_id, prompt_ids)
        own = [replace(requests[i], known=known.get(requests[i].prompt_id, ())) for i in asked]
        answers = await self.workers[target_id].run(own)
        for i, answer in zip(asked, answers, strict=True):
            said[i][target_id] = answer

    async def close(self) -> None:
        for worker in self.workers.values():
            await worker.close()


def _goes_on(request: EvaluationRequest, so_far: Mapping[str, Evaluation | Failure]) -> bool:
    """Whether a further target can still tell something of this prompt."""
    return all(
        isinstance(answer, Evaluation) and answer.score.refusal_high >= request.threshold
        for answer in so_far.values()
    )


def _conclude(answers: Mapping[str, Evaluation | Failure], over: Over) -> Evaluation | Failure:
    evaluations = {t: a for t, a in answers.items() if isinstance(a, Evaluation)}
    # In order of the targets, not of their answers: the same run says the same.
    failed = {t: a for t, a in sorted(answers.items()) if isinstance(a, Failure)}
    if not failed:
        return combine(evaluations, over)
    paid = {t: a for t, a in answers.items() if isinstance(a, Evaluation | Unscored)}
    # A prompt that kills replicas is not tried again, whatever else befell it.
    first = min(failed, key=lambda t: failed[t].kind is not FailureKind.REPLICA_LOST)
    message = f"target {first}: {failed[first].message}"
    if not paid:
        return Failure(failed[first].kind, message)
    lost = failed[first].kind is FailureKind.REPLICA_LOST
    return Unscored(
        FailureKind.REPLICA_LOST if lost else FailureKind.UNSCORED,
        message if lost else f"{failed[first].kind}: {message}",
        samples=(),
        n_new=sum(a.n_new for a in paid.values()),
        target_tokens=sum(a.target_tokens for a in paid.values()),
        cost_usd=sum(a.cost_usd for a in paid.values()),
        by_target=tuple(sorted(paid.items())),
    )
