"""The config door: defaults, overrides, and one clear line for whatever is wrong."""

from pathlib import Path

import pytest

from evo import wiring
from evo.config import load, validate
from workers.interface import ConfigError

MINIMAL = """
seeds: {dataset: xstest-safe}
target: {model: local:smollm2}
budget: {evaluations: 10}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_quickstart_is_valid() -> None:
    config = load(Path(__file__).parents[2] / "examples/quickstart.yaml")
    assert config.search.algorithm == "steady-state"
    assert config.target.system_text is None


def test_overrides_are_applied_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    config = load(path, ["budget.evaluations=5", "seed=3", "target.sampling.top_p=0.9"])
    assert (config.budget.evaluations, config.seed, config.target.sampling.top_p) == (5, 3, 0.9)


def test_environment_variables_are_expanded(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "store: ${EVO_STORE}\n")
    assert load(path, environment={"EVO_STORE": "sqlite:///x.db"}).store == "sqlite:///x.db"
    with pytest.raises(ConfigError, match=r"EVO_STORE.*not set"):
        load(path, environment={})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budgt: {evaluations: 1}", "unknown key 'budgt'; did you mean 'budget'"),
        ("search: {algorithn: random}", "unknown key 'search.algorithn'; did you mean 'algorithm'"),
        (
            "proposer: {operators: [llm], engine: {model: x, replica: 1}}",
            "unknown key 'proposer.engine.replica'; did you mean 'replicas'",
        ),
        ("budget: {}", "set one of evaluations"),
        ("budget: {evaluations: 0}", "greater than or equal to 1"),
        ("seeds: {}", "name one of 'dataset', 'path' and 'store'"),
        ("proposer: {operators: [llm]}", "needs an 'engine' block"),
        ("search: {samples: {first: 5, max: 2}}", "smaller than first"),
        ("target: {model: m, sampling: {temperature: -1}}", "target.sampling.temperature"),
        ("name: ''", "name"),
        ("budget: {money: 1}", "budget.money needs a price"),
        ("target: {model: m, base_url: 'http://a/v1'}", "'base_url' is for endpoints"),
        (
            "target: {engine: openai, model: m, dtype: float32}",
            "'dtype' is for models that run here",
        ),
        ("target: {engine: openai, model: m, base_url: here}", "'base_url' is an address such as"),
        ("target: {engine: openai, model: m, timeout_s: 0}", "target.timeout_s"),
        (
            "target: {engine: openai, model: m, api_key: x}",
            "unknown key 'target.api_key'; did you mean 'api_key_env'",
        ),
        ("engines: {judge: {modle: m}}", "unknown key 'engines.judge.modle'; did you mean 'model'"),
    ],
)
def test_each_mistake_is_one_line_that_names_the_place(
    tmp_path: Path, change: str, said: str
) -> None:
    key = change.split(":")[0]
    kept = [line for line in MINIMAL.splitlines() if not line.startswith(f"{key}:")]
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "\n".join([*kept, change])))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(write(tmp_path, text))


def test_an_absent_file_and_a_wrong_override_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="write key=value"):
        load(write(tmp_path, MINIMAL), ["budget.evaluations"])
    with pytest.raises(ConfigError, match="is a value, not a section"):
        load(write(tmp_path, MINIMAL), ["target.model.x=1"])


def test_the_stored_form_is_read_back_equal() -> None:
    config = load(Path(__file__).parents[2] / "examples/quickstart.yaml")
    assert validate(config.model_dump(mode="json")) == config


ENDPOINT = """
seeds: {dataset: xstest-safe}
engines:
  served: {engine: openai, model: m, base_url: "http://a/v1", price: {prompt: 1}, sampling: {top_k: 5}}
target: {engine: served, price: {completion: 2}, system_prompt: safety-prior}
proposer: {operators: [llm], engine: {engine: served, sampling: {max_tokens: 200}}}
budget: {money: 1}
"""


def test_target_and_proposer_take_over_what_a_named_engine_says(tmp_path: Path) -> None:
    config = load(write(tmp_path, ENDPOINT), ["target.model=other"])
    target, proposing = config.target, config.proposer.engine
    assert (target.engine, target.model, target.base_url) == ("openai", "other", "http://a/v1")
    assert (target.price.prompt, target.price.completion) == (1.0, 2.0)
    assert proposing is not None
    assert (proposing.model, proposing.price.completion) == ("m", 0.0)
    assert (proposing.sampling.top_k, proposing.sampling.max_tokens) == (5, 200)
    assert validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    "change",
    [
        "target.api_key_env=sk-secret-1",
        "target.base_url=https://me:sk-secret-1@a/v1",
        "target.base_url=https://a/v1?key=sk-secret-1",
        "target.api_key=sk-secret-1",
    ],
)
def test_a_key_in_the_config_is_refused_and_not_repeated(tmp_path: Path, change: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, ENDPOINT), [change])
    assert "secret" not in str(caught.value)


def test_replicas_are_a_number_or_a_range() -> None:
    raw = {
        "seeds": {"dataset": "xstest-safe"},
        "target": {"model": "local:smollm2", "replicas": {"min": 2, "max": 8}},
        "budget": {"evaluations": 1},
    }
    target = validate(raw).target
    assert (target.least_replicas, target.most_replicas) == (2, 8)
    assert validate(validate(raw).model_dump(mode="json")).target == target
    for wrong, message in (
        ({"min": 3, "max": 2}, r"target.replicas.*max \(2\) is smaller than min"),
        (0, "config: target.replicas: input should be greater than or equal to 1"),
        ({"min": 1}, "'target.replicas.max' is missing"),
        ({"min": 1, "maxx": 2}, "unknown key 'target.replicas.maxx'; did you mean 'max'"),
    ):
        with pytest.raises(ConfigError, match=message):
            validate({**raw, "target": {"model": "local:smollm2", "replicas": wrong}})


def on_vllm(**changes: object) -> dict[str, object]:
    target = {"model": "local:smollm2", "engine": "vllm", "vllm": {"tensor_parallel": 2}, "gpus": 2}
    return {
        "seeds": {"dataset": "xstest-safe"},
        "target": {**target, **changes},
        "budget": {"evaluations": 10},
    }


def test_what_vllm_alone_knows_is_refused_for_another_engine() -> None:
    assert validate(on_vllm()).target.vllm.tensor_parallel == 2
    with pytest.raises(ConfigError, match="'vllm' is for the engine vllm, not for 'transformers'"):
        validate(on_vllm(engine="transformers"))
    with pytest.raises(ConfigError, match=r"did you mean 'tensor_parallel'"):
        validate(on_vllm(vllm={"tensor_paralel": 2}))


def test_pieces_and_gpus_that_do_not_match_are_said_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="give both the same number"):
        wiring.check(validate(on_vllm(gpus=1)))
