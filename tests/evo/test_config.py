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
        ("seeds: {}", "either 'dataset' or 'path'"),
        ("proposer: {operators: [llm]}", "needs an 'engine' block"),
        ("search: {samples: {first: 5, max: 2}}", "smaller than first"),
        ("target: {model: m, sampling: {temperature: -1}}", "target.sampling.temperature"),
        ("name: ''", "name"),
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
