"""TRL trains on the exported folders: one optimiser step of each trainer on the real SmolLM2."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from workers import local_models

pytestmark = pytest.mark.slow


def _sft(arguments: dict[str, Any]) -> tuple[Any, Any]:
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer, SFTConfig(**arguments, max_length=128)


def _dpo(arguments: dict[str, Any]) -> tuple[Any, Any]:
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer, DPOConfig(**arguments, max_length=128)


def _kto(arguments: dict[str, Any]) -> tuple[Any, Any]:
    from trl import KTOConfig, KTOTrainer

    return KTOTrainer, KTOConfig(**arguments, max_length=128)


@pytest.mark.parametrize(("config", "chosen"), [("sft", _sft), ("dpo", _dpo), ("kto", _kto)])
def test_a_trainer_takes_one_step_on_all_rows(
    exported: Path, tmp_path: Path, config: str, chosen: Callable[..., tuple[Any, Any]]
) -> None:
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = datasets.load_dataset(str(exported), config, split="train")
    folder = local_models.prepare("smollm2")
    trainer, arguments = chosen(
        {
            "output_dir": str(tmp_path / "out"),
            "max_steps": 1,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-3,
            "report_to": "none",
            "use_cpu": True,
            "gradient_checkpointing": False,
            "save_strategy": "no",
            "logging_steps": 1,
            "seed": 0,
        }
    )
    training = trainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=arguments,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    assert len(training.train_dataset) == len(rows)
    done = training.train()
    assert done.global_step == 1
    assert math.isfinite(done.training_loss)
    adapter = [p for n, p in training.model.named_parameters() if "lora_B" in n]
    assert adapter  # it begins at zero, so whatever is not zero was learned
    assert all(p.detach().abs().sum() > 0 for p in adapter)
