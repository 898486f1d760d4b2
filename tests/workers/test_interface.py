"""The values that travel arrive as they were sent."""

import pickle

import pytest

from fitness.types import JudgedSample, Unscored, Verdict
from workers.interface import (
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Sample,
    Sampling,
)

SAMPLE = Sample(0, "text", 3, "stop", -1.5, None, "because")
JUDGED = JudgedSample(SAMPLE, (Verdict.scored("j", "1", 0.5), Verdict.unscored("k", "1", "no")))


@pytest.mark.parametrize(
    "value",
    [
        Failure(FailureKind.OVERLONG, "too long"),
        Generation((SAMPLE, SAMPLE), 7),
        GenerationRequest("key", (Message("user", "hello"),), 2, Sampling(), 3),
        JUDGED,
        Unscored(FailureKind.UNSCORED, "nobody", (JUDGED,), 1, 3),
    ],
)
def test_a_value_is_the_same_on_the_other_side(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
