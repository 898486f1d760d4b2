"""What a vLLM that does not start is made to say: one line, with the cause and the mend."""

from __future__ import annotations

import json
import logging.config
from pathlib import Path

import pytest

from workers.engines import vllm, vllm_answers, vllm_startup
from workers.interface import ConfigError, Sampling

LOG = """vllm WARNING something else
vllm ERROR WorkerProc failed to start.
Traceback (most recent call last):
  File "/x/multiproc_executor.py", line 912, in worker_main
    worker = WorkerProc(*args, **kwargs)
  File "/x/loader.py", line 3, in load
    raise
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 96.00 GiB.
vllm ERROR EngineCore failed to start.
Traceback (most recent call last):
  File "/x/core.py", line 1, in run_engine_core
Exception: WorkerProc initialization failed due to an exception in a background process. See above.
"""


def test_the_first_exception_is_the_cause_and_those_that_pass_it_on_are_not() -> None:
    assert vllm_startup.root_cause(LOG) == "CUDA out of memory. Tried to allocate 96.00 GiB."
    passed_on = LOG[LOG.index("vllm ERROR EngineCore") :]
    assert vllm_startup.root_cause(passed_on) is None
    assert vllm_startup.root_cause("nothing\nValueError: outside of a traceback\n") is None


def test_the_second_line_of_a_validation_error_is_what_is_wrong() -> None:
    log = (
        "Traceback (most recent call last):\n  File\n"
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, max_model_len (9) is too large [type=value_error, input_value=1]\n"
    )
    assert vllm_startup.root_cause(log) == "max_model_len (9) is too large"


def test_a_cause_stays_one_line_of_bearable_length() -> None:
    said = vllm_startup.one_line("a" * 5000 + "\nmore")
    assert len(said) == 400
    assert said.endswith(" ...")


def test_every_cause_has_a_mend() -> None:
    assert "kv_cache_gib" in vllm_startup.mend("The KV cache is too small")
    assert "context_tokens" in vllm_startup.mend("max_model_len (100000) is greater than 8192")
    assert "smaller model" in vllm_startup.mend("CUDA out of memory")
    assert "ray logs" in vllm_startup.mend("something else")


def test_the_logging_configuration_writes_tracebacks_where_they_are_looked_for(
    tmp_path: Path,
) -> None:
    log, config = tmp_path / "log.txt", tmp_path / "logging.json"
    vllm_startup.log_to(log, config)
    settings = json.loads(config.read_text())
    settings["loggers"] = {"vllm_log_test": settings["loggers"]["vllm"]}
    logging.config.dictConfig(settings)
    logger = logging.getLogger("vllm_log_test")
    try:
        raise ValueError("too small")
    except ValueError:
        logger.exception("EngineCore failed to start.")
    finally:
        for handler in logger.handlers:
            handler.close()
    assert vllm_startup.root_cause(log.read_text()) == "too small"


def test_weights_are_counted_in_the_dtype_that_they_are_loaded_in(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    assert vllm_startup.weights_bytes(tmp_path, "float32") is None  # no config: not known
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    assert vllm_startup.weights_bytes(tmp_path, "float32") == 2000
    assert vllm_startup.weights_bytes(tmp_path, "bfloat16") == 1000
    assert vllm_startup.weights_bytes(tmp_path, "auto") == 1000
    (tmp_path / "config.json").write_text('{"torch_dtype": "float32", "quantization_config": {}}')
    assert vllm_startup.weights_bytes(tmp_path, "bfloat16") == 1000
    assert vllm_startup.weights_bytes(tmp_path / "absent", "auto") is None


def test_a_model_that_does_not_fit_is_named_with_the_numbers() -> None:
    gib = 2**30
    vllm_startup.require_room("m", weights=3 * gib, cache=gib, free=4 * gib, where="here")
    with pytest.raises(ConfigError, match=r"'m' does not fit: 3.00 GiB .* 1.00 GiB .* 3.50 GiB"):
        vllm_startup.require_room(
            "m", weights=3 * gib, cache=gib, free=4 * gib - gib // 2, where="this machine"
        )


def test_samples_asked_for_later_have_seeds_of_their_own() -> None:
    first = {
        vllm_answers.child_seed(3, 0) + k for k in range(4)
    }  # vLLM adds the number of the sample
    later = {vllm_answers.child_seed(3, 4) + k for k in range(4)}
    neighbour = {vllm_answers.child_seed(4, 0) + k for k in range(8)}
    assert len(first | later | neighbour) == 16
    assert max(vllm_answers.child_seed(seed, 10**6) for seed in range(100)) < 2**63


def test_log_q_is_given_only_where_it_is_exact() -> None:
    assert vllm_answers.log_q(-3.0, Sampling(1.0, 1.0, 0)) == -3.0
    assert vllm_answers.log_q(-3.0, Sampling(0.0, 0.9, 5)) == 0.0
    for truncated in (Sampling(1.0, 0.9, 0), Sampling(1.0, 1.0, 5), Sampling(0.7, 1.0, 0)):
        assert vllm_answers.log_q(-3.0, truncated) is None


def refusal() -> str | None:
    """What is said of the vLLM that is installed; None when nothing is."""
    try:
        vllm_startup.require_installed()
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize("found", ["0.28.1", "0.33.0", "1.0.0"])
def test_a_vllm_that_this_was_not_written_for_is_refused(
    found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_startup, "installed_version", lambda: found)
    said = f"engine: vllm {found} is installed, and evocliff works with vllm>=0.29,<0.33"
    assert refusal() == said


def test_without_vllm_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_startup, "DISTRIBUTIONS", ("no-such-thing",))
    with pytest.raises(ConfigError, match="pip install"):
        vllm.VllmEngine("local:smollm2")


@pytest.mark.parametrize("found", ["0.29.0", "0.32.0", "0.30.1rc1"])
def test_all_supported_versions_pass(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_startup, "installed_version", lambda: found)
    assert refusal() is None
