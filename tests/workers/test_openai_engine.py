"""The OpenAI-compatible engine against a scripted server on loopback; time and chance are the tests'."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.scripted_endpoint import Mishap, ScriptedEndpoint, scripted_endpoint
from workers.engines import rate_limit
from workers.engines.endpoint_client import Surroundings
from workers.engines.openai import OpenAIEngine
from workers.interface import (
    Ability,
    ConfigError,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Sampling,
    TargetError,
)

KEY = "sk-very-secret-0123456789"
PLAIN = Sampling(1.0, 1.0, 0, 20)


@dataclass
class FakeTime:
    """A clock that sleeping moves; `events` happen once it has passed their second."""

    now_s: float = 0.0
    slept: list[float] = field(default_factory=list)
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now_s += seconds
        for event in [e for e in self.events if e[0] <= self.now_s]:
            self.events.remove(event)
            event[1]()
        await asyncio.sleep(0)

    def surroundings(self) -> Surroundings:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return Surroundings(
            clock=lambda: self.now_s,
            now=lambda: start + timedelta(seconds=self.now_s),
            sleep=self.sleep,
            chance=lambda: 0.0,
        )


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with scripted_endpoint() as served:
        yield served


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture(autouse=True)
def _no_key_and_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(rate_limit, "_SHARED", {})


Engines = Callable[..., OpenAIEngine]


@pytest.fixture
def engine_of(time: FakeTime) -> Iterator[Engines]:
    made: list[OpenAIEngine] = []

    def build(endpoint: ScriptedEndpoint, **settings: Any) -> OpenAIEngine:
        settings = {"model": "tiny", "base_url": endpoint.url} | settings
        engine = OpenAIEngine(surroundings=time.surroundings(), **settings)
        made.append(engine)
        endpoint.asked.clear()
        time.slept.clear()
        return engine

    yield build
    for engine in made:
        asyncio.run(engine.close())


def request(
    prompt: str = "Hi", n: int = 1, sampling: Sampling = PLAIN, first: int = 0, seed: int = 3
) -> GenerationRequest:
    return GenerationRequest("key", (Message("user", prompt),), n, sampling, seed, first)


def run(engine: OpenAIEngine, *requests: GenerationRequest) -> list[Generation | Failure]:
    return asyncio.run(engine.generate(requests))


def answered(engine: OpenAIEngine, *requests: GenerationRequest) -> list[Generation]:
    answers = run(engine, *requests)
    assert all(isinstance(a, Generation) for a in answers), answers
    return answers  # type: ignore[return-value]


def failed(engine: OpenAIEngine, *requests: GenerationRequest) -> Failure:
    (answer,) = run(engine, *requests)
    assert isinstance(answer, Failure)
    return answer


# What is sent, and what is read


def test_all_samples_of_a_prompt_come_from_one_request(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    (answer,) = answered(engine_of(endpoint), request(n=5))
    (sent,) = endpoint.asked
    assert (sent["n"], sent["temperature"], sent["top_p"], sent["max_tokens"]) == (5, 1.0, 1.0, 20)
    assert [s.index for s in answer.samples] == [0, 1, 2, 3, 4]
    for sample in answer.samples:
        assert sample.n_tokens == len(sample.text.split())
        assert sample.logprob_sum == -0.5 * sample.n_tokens
        assert sample.sampling_logprob_sum == sample.logprob_sum  # nothing was truncated


def test_truncated_decoding_has_no_log_q(endpoint: ScriptedEndpoint, engine_of: Engines) -> None:
    (answer,) = answered(engine_of(endpoint), request(sampling=Sampling(1.0, 0.9, 7, 20)))
    assert answer.samples[0].logprob_sum is not None
    assert answer.samples[0].sampling_logprob_sum is None
    assert endpoint.asked[0]["top_k"] == 7


def test_later_samples_do_not_repeat_earlier_ones(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint)
    answered(engine, request(n=2), request(n=2, first=2), request(n=2, seed=4), request(n=2))
    seeds = [sent["seed"] for sent in endpoint.asked]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("most", [1, 3])
def test_an_endpoint_that_gives_fewer_choices_is_asked_for_the_rest(
    engine_of: Engines, most: int
) -> None:
    with scripted_endpoint(most_choices=most) as endpoint:
        engine = engine_of(endpoint)
        first, second = answered(engine, request("a", n=5), request("b", n=5))
        for answer in (first, second):
            assert [s.index for s in answer.samples] == [0, 1, 2, 3, 4]
        endpoint.asked.clear()
        answered(engine, request("c", n=5))
        assert [sent.get("n", 1) for sent in endpoint.asked] == [1] * 5
        assert len({sent["seed"] for sent in endpoint.asked}) == 5


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("refused", ["n", "seed", "logprobs"])
def test_what_an_endpoint_turns_down_is_found_at_start_and_left_out(
    engine_of: Engines, refused: str, named: bool
) -> None:
    with scripted_endpoint(refuses_parameters=(refused,), names_parameters=named) as endpoint:
        engine = engine_of(endpoint)
        (answer,) = answered(engine, request(n=3))
        assert len(answer.samples) == 3
        assert not any(refused in sent for sent in endpoint.asked)
        kept = {"seed", "logprobs"} - {refused}
        assert all(kept <= set(sent) for sent in endpoint.asked)


def test_models_that_want_max_completion_tokens_get_it(engine_of: Engines) -> None:
    with scripted_endpoint() as endpoint:
        said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        error = {"error": {"message": said, "param": "max_tokens"}}
        endpoint.mishaps.append(Mishap(400, error))
        answered(engine_of(endpoint), request())
        assert endpoint.asked[0]["max_completion_tokens"] == 20
        assert "max_tokens" not in endpoint.asked[0]


def test_without_log_probabilities_there_is_none_and_the_tokens_still_add_up(
    engine_of: Engines,
) -> None:
    with scripted_endpoint(logprobs=False) as endpoint:
        engine = engine_of(endpoint)
        assert Ability.LOGPROBS not in engine.description.abilities
        (answer,) = answered(engine, request(n=4))
        assert [s.logprob_sum for s in answer.samples] == [None] * 4
        words = sum(len(s.text.split()) for s in answer.samples)
        assert sum(s.n_tokens for s in answer.samples) == words
        assert all(s.n_tokens >= 1 for s in answer.samples)


@pytest.mark.parametrize("owner", ["vllm", "llamacpp"])
def test_servers_with_defaults_of_their_own_are_told_to_leave_them(
    engine_of: Engines, owner: str
) -> None:
    with scripted_endpoint(models=[{"id": "tiny", "owned_by": owner}]) as endpoint:
        answered(engine_of(endpoint), request())
        assert endpoint.asked[0]["top_k"] == 0
        assert endpoint.asked[0]["min_p"] == 0.0
        assert endpoint.asked[-1]["top_logprobs"] == (1 if owner == "llamacpp" else 0)


def test_a_server_that_fails_over_n_is_asked_without_it_at_once(
    engine_of: Engines, time: FakeTime
) -> None:
    error = {"error": {"code": 500, "message": "Only one completion choice is allowed"}}
    card = {"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}
    with scripted_endpoint(models=[card]) as endpoint:
        endpoint.mishaps.extend([Mishap(500, error)] * 2)
        engine = engine_of(endpoint)
        assert engine.description.context_tokens == 4096
        answered(engine, request(n=2))
        assert [("n" in sent, "seed" in sent) for sent in endpoint.asked] == [(False, True)] * 2


def test_an_endpoint_that_is_busy_at_start_is_waited_for(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime
) -> None:
    endpoint.mishaps.append(Mishap(429, {}, {"Retry-After": "40"}))
    engine_of(endpoint)
    assert time.now_s >= 40.0


@pytest.mark.parametrize(
    ("message", "reasoning", "text"),
    [
        ({"content": "Yes.", "reasoning_content": "fine"}, "fine", "Yes."),
        ({"content": "Yes.", "reasoning": "fine"}, "fine", "Yes."),
        ({"content": "<think>fine</think> Yes."}, "fine", "Yes."),
        ({"content": None, "refusal": "I won't."}, None, "I won't."),
        ({"content": ""}, None, ""),
    ],
)
def test_reasoning_and_answer_are_told_apart(
    engine_of: Engines, message: dict[str, Any], reasoning: str | None, text: str
) -> None:
    with scripted_endpoint(logprobs=False) as endpoint:
        engine = engine_of(endpoint)
        endpoint.choice = {"message": message}
        endpoint.usage = False
        endpoint.mishaps.append(
            Mishap(
                body={
                    "choices": [{"message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 9},
                }
            )
        )
        (answer,) = answered(engine, request())
        sample = answer.samples[0]
        assert (sample.reasoning, sample.text, sample.n_tokens) == (reasoning, text, 9)


def test_the_description_says_what_the_endpoint_tells(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    one, other = engine_of(endpoint).description, engine_of(endpoint).description
    assert one == other
    assert (one.engine, one.model, one.template) == ("openai", "tiny", "endpoint")
    assert one.device == f"127.0.0.1:{endpoint.port}"
    assert one.context_tokens == 2000
    assert len(one.revision) == 16
    with scripted_endpoint(models=None) as unlisted:
        third = engine_of(unlisted).description
        assert third.context_tokens is None
        assert third.revision != one.revision


# Mishaps on the way


@pytest.mark.parametrize(
    "mishap",
    [
        Mishap(429, {"error": {"message": "slow down"}}),
        Mishap(500, "oops"),
        Mishap(502, "<html>bad gateway</html>"),
        Mishap(503, {"error": "loading"}),
        Mishap(529, {"error": {"message": "overloaded"}}),
        Mishap(cut=0),
        Mishap(cut=40),
        Mishap(200, "{not json"),
        Mishap(200, {"choices": []}),
        Mishap(200, {"error": {"message": "said with a 200"}}),
    ],
)
def test_a_passing_mishap_is_tried_again_with_backoff(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime, mishap: Mishap
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.extend([mishap, mishap])
    answered(engine, request())
    assert len(endpoint.asked) == 3
    assert [s for s in time.slept if s] == [0.25, 0.5]


def test_a_hang_is_cut_off_and_tried_again(endpoint: ScriptedEndpoint, engine_of: Engines) -> None:
    engine = engine_of(endpoint, timeout_s=0.4)
    endpoint.mishaps.append(Mishap(hangs_s=1.0))
    answered(engine, request())
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("mishap", "kind", "tries"),
    [
        (Mishap(429, {"error": {"message": "slow down"}}), FailureKind.ENGINE, 12),
        (Mishap(500, "oops"), FailureKind.ENGINE, 6),
        (Mishap(200, "{not json"), FailureKind.ENGINE, 3),
        (Mishap(400, {"error": {"message": "bad temperature"}}), FailureKind.ENGINE, 1),
        (Mishap(403, {"error": {"message": "moderated"}}), FailureKind.ENGINE, 1),
        (Mishap(400, {"error": {"code": "content_filter"}}), FailureKind.FILTERED, 1),
        (Mishap(400, {"error": {"message": "maximum context length"}}), FailureKind.OVERLONG, 1),
        (
            Mishap(400, {"error": {"code": 400, "type": "exceed_context_size_error"}}),
            FailureKind.OVERLONG,
            1,
        ),
    ],
)
def test_a_lasting_mishap_is_a_failure_of_its_kind_after_bounded_tries(
    endpoint: ScriptedEndpoint, engine_of: Engines, mishap: Mishap, kind: FailureKind, tries: int
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.extend([mishap] * tries)
    failure = failed(engine, request())
    assert failure.kind is kind
    assert failure.message.startswith("key: 127.0.0.1:")
    assert len(endpoint.asked) == tries
    answered(engine, request())  # the endpoint lives


def test_lasting_silence_is_a_timeout_after_three_tries(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint, timeout_s=0.2)
    endpoint.mishaps.extend([Mishap(hangs_s=0.5)] * 3)
    failure = failed(engine, request())
    assert (failure.kind, len(endpoint.asked)) == (FailureKind.TIMEOUT, 3)


@pytest.mark.parametrize("reason", ["content_filter", "tool_calls", None])
def test_an_answer_that_was_withheld_is_a_failure_and_no_refusal(
    endpoint: ScriptedEndpoint, engine_of: Engines, reason: str | None
) -> None:
    engine = engine_of(endpoint)
    endpoint.choice = {"finish_reason": reason}
    expected = FailureKind.FILTERED if reason == "content_filter" else FailureKind.ENGINE
    assert failed(engine, request(n=2)).kind is expected


def test_a_request_that_is_turned_down_with_n_is_asked_one_by_one(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.append(Mishap(400, {"error": {"message": "n must be at most 2"}}))
    (answer,) = answered(engine, request(n=3))
    assert [s.index for s in answer.samples] == [0, 1, 2]
    assert [sent.get("n", 1) for sent in endpoint.asked] == [3, 1, 1, 1]


def test_greedy_samples_are_asked_one_by_one_and_others_together_again(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint)
    answered(engine, request(n=2, sampling=Sampling(0.0, 1.0, 0, 20)))
    answered(engine, request(n=2))
    assert [sent.get("n", 1) for sent in endpoint.asked] == [1, 1, 2]


def test_failures_stay_in_their_places(endpoint: ScriptedEndpoint, engine_of: Engines) -> None:
    prompts = ["Hi", "word " * 9000, "  ", "\ud800 x", "Yo"]
    answers = run(engine_of(endpoint), *(request(p) for p in prompts))
    kinds = [a.kind if isinstance(a, Failure) else None for a in answers]
    expected = [None, FailureKind.OVERLONG, FailureKind.EMPTY, FailureKind.TEMPLATE, None]
    assert kinds == expected


# Retry-After, rates and places


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 31 Dec 2025 00:00:30 GMT"}, 0.25),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "soon"}, 0.25),
    ],
)
def test_retry_after_is_honoured(
    endpoint: ScriptedEndpoint,
    engine_of: Engines,
    time: FakeTime,
    headers: dict[str, str],
    waited: float,
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.append(Mishap(429, {}, headers))
    answered(engine, request())
    assert time.slept[0] == waited


def test_one_call_that_is_told_to_wait_holds_back_the_others(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.append(Mishap(429, {}, {"Retry-After": "20"}))

    async def one_after_the_other() -> None:
        held = asyncio.ensure_future(engine.generate([request("first")]))
        while not endpoint.asked:
            await asyncio.sleep(0.01)
        await engine.generate([request("second")])
        await held

    asyncio.run(one_after_the_other())
    assert time.now_s >= 20.0


def test_a_wait_beyond_our_patience_ends_the_run_at_once(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.append(Mishap(429, {}, {"Retry-After": "86400"}))
    with pytest.raises(TargetError, match=r"asks to wait 86400 s.*can be resumed"):
        run(engine, request())
    assert time.slept == []


def test_requests_are_spaced_by_the_rate_that_the_endpoint_allows(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime
) -> None:
    engine = engine_of(endpoint, requests_per_minute=60)
    for _ in range(3):
        answered(engine, request())
    assert time.slept == [1.0, 1.0, 1.0]  # the probe was the first


def test_two_engines_of_one_endpoint_share_the_lower_limit() -> None:
    one = rate_limit.shared("http://here/v1", 60, None)
    other = rate_limit.shared("http://here/v1", 30, None)
    assert one is other
    assert [one.wait_s(0.0, 1), other.wait_s(0.0, 1), one.wait_s(0.0, 1)] == [0.0, 2.0, 4.0]
    assert rate_limit.shared("http://there/v1", 60, None) is not one


def test_tokens_that_were_reserved_and_not_used_are_given_back() -> None:
    limit = rate_limit.RateLimit(tokens_per_minute=600)
    assert [limit.wait_s(0.0, 100), limit.wait_s(0.0, 100)] == [0.0, 10.0]
    limit.settle(100, 20)
    assert limit.wait_s(0.0, 1) == pytest.approx(12.0)


def test_no_more_requests_are_under_way_than_allowed(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint, concurrency=3)
    endpoint.slow_s = 0.03
    answered(engine, *(request(f"prompt {n}") for n in range(12)))
    assert endpoint.most_at_once == 3


# An endpoint that goes away


def test_an_endpoint_that_is_away_for_20_s_is_survived(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime
) -> None:
    engine = engine_of(endpoint)
    endpoint.go_away()
    time.events.append((time.now_s + 20.0, endpoint.begin))
    answers = answered(engine, request("a"), request("b"))
    assert [len(a.samples) for a in answers] == [1, 1]
    assert time.now_s >= 20.0


def test_an_endpoint_that_stays_away_ends_the_run_after_more_than_a_minute(
    endpoint: ScriptedEndpoint, engine_of: Engines, time: FakeTime
) -> None:
    engine = engine_of(endpoint)
    endpoint.go_away()
    with pytest.raises(TargetError, match=r"127\.0\.0\.1.*connection failed.*can be resumed"):
        run(engine, request())
    assert time.now_s >= 60.0


def test_what_the_neighbours_were_answered_is_kept_when_the_endpoint_goes(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint, concurrency=1)
    endpoint.mishaps.append(Mishap(401, {"error": {"message": "revoked"}}))
    answers = run(engine, request("a"), request("b"))
    assert sorted(type(a).__name__ for a in answers) == ["Failure", "Generation"]


@pytest.mark.parametrize(
    "mishap",
    [
        Mishap(401, {"error": {"message": "revoked"}}),
        Mishap(404, {"error": {"message": "model unloaded"}}),
        Mishap(429, {"error": {"code": "insufficient_quota", "message": "pay"}}),
    ],
)
def test_an_endpoint_that_can_answer_nobody_any_more_ends_the_run(
    endpoint: ScriptedEndpoint, engine_of: Engines, mishap: Mishap
) -> None:
    engine = engine_of(endpoint)
    endpoint.mishaps.append(mishap)
    with pytest.raises(TargetError):
        run(engine, request())
    assert len(endpoint.asked) == 1


def test_closing_lets_go_of_those_who_wait(endpoint: ScriptedEndpoint, engine_of: Engines) -> None:
    engine = engine_of(endpoint)
    endpoint.slow_s = 0.5

    async def close_while_waiting() -> None:
        waiting = asyncio.ensure_future(engine.generate([request()]))
        while not endpoint.asked:
            await asyncio.sleep(0.01)
        await engine.close()
        await engine.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(close_while_waiting())


# Bad input


def test_a_wrong_model_names_those_that_there_are(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    with pytest.raises(ConfigError, match="no model 'tinny'; it has tiny"):
        engine_of(endpoint, model="tinny")


def test_a_wrong_address_names_it(engine_of: Engines, endpoint: ScriptedEndpoint) -> None:
    endpoint.go_away()
    with pytest.raises(ConfigError, match=rf"{endpoint.url}.*is the server up and base_url right"):
        engine_of(endpoint)


def test_an_answer_without_token_counts_is_named(engine_of: Engines) -> None:
    with (
        scripted_endpoint(usage=False) as endpoint,
        pytest.raises(ConfigError, match=r"not a chat completion \(usage"),
    ):
        engine_of(endpoint)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "MY_KEY: it is not set"),
        ("sk-other-9876543210", "MY_KEY: set it to a valid key"),
        ("sk with spaces", "MY_KEY: holds characters that no key has"),
    ],
)
def test_a_wrong_key_names_the_variable_and_never_the_key(
    engine_of: Engines, monkeypatch: pytest.MonkeyPatch, key: str | None, said: str
) -> None:
    if key is not None:
        monkeypatch.setenv("MY_KEY", key)
    with scripted_endpoint(key=KEY) as endpoint:
        with pytest.raises(ConfigError) as caught:
            engine_of(endpoint, api_key_env="MY_KEY")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert key is None or key not in str(caught.value)


def test_the_hosted_default_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        OpenAIEngine("gpt-4o-mini")


# The key


def test_the_key_is_sent_and_shows_nowhere(
    engine_of: Engines,
    time: FakeTime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with scripted_endpoint(key=KEY) as endpoint:
        engine = engine_of(endpoint)
        parrot = {"error": {"message": f"you sent Bearer {KEY}"}}
        endpoint.mishaps.extend([Mishap(503, parrot), Mishap(400, parrot)])
        failure = failed(engine, request())
        assert "you sent Bearer ***" in failure.message
        endpoint.mishaps.append(Mishap(401, parrot))
        with pytest.raises(TargetError) as caught:
            run(engine, request())
        assert set(endpoint.authorizations) == {f"Bearer {KEY}"}
    seen = [caplog.text, repr(engine), repr(engine.description), repr(failure), str(caught.value)]
    seen += [
        repr(vars(engine)),
        repr(vars(engine._endpoint)),
        repr(caught.value.__context__),
        repr(caught.value.__cause__),
    ]
    assert not any(KEY in text for text in seen)
    assert "trying again" in caplog.text


def test_where_there_is_no_key_no_header_is_sent(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    answered(engine_of(endpoint), request())
    assert set(endpoint.authorizations) == {None}


# Money


def test_what_was_used_is_charged_to_the_cent(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint, prompt_price=2.0, completion_price=10.0)
    (answer,) = answered(engine, request("one two three", n=4))
    tokens = sum(s.n_tokens for s in answer.samples)
    assert answer.n_prompt_tokens == 8
    assert answer.cost_usd == pytest.approx(8 * 2e-6 + tokens * 10e-6)


def test_what_a_failed_request_cost_is_charged_with_the_next(
    endpoint: ScriptedEndpoint, engine_of: Engines
) -> None:
    engine = engine_of(endpoint, prompt_price=2.0)
    endpoint.choice = {"finish_reason": "content_filter"}
    failed(engine, request())
    endpoint.choice = {}
    (answer,) = answered(engine, request())
    assert answer.cost_usd == pytest.approx(2 * 6 * 2e-6)


def test_requests_sent_one_by_one_are_charged_one_by_one(engine_of: Engines) -> None:
    with scripted_endpoint(most_choices=1) as endpoint:
        engine = engine_of(endpoint, prompt_price=1.0)
        (answer,) = answered(engine, request(n=3))
        assert answer.n_prompt_tokens == 3 * 6
        assert answer.cost_usd == pytest.approx(18e-6)
