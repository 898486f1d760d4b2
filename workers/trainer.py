"""Training an adapter: a LoRA on a chat model, by TRL, from prompts with the answers that are wanted.

Knows texts, tokens and a folder to write to; it does not know what a refusal is. Checkpoints lie beside
the adapter until it is whole, so a killed training goes on where it was.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from workers.errors import ConfigError, TargetError
from workers.interface import Message

_SETTINGS = "training.json"
_CHECKPOINTS = ".checkpoints"


class Method(StrEnum):
    SFT = "sft"  # likelihood of the wanted answer alone
    DPO = "dpo"  # the wanted answer over the unwanted one (arXiv 2305.18290)
    KTO = "kto"  # wanted and unwanted answers, unpaired (arXiv 2402.01306)


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, the answer that is wanted of it, and one that is not (None: none is known)."""

    prompt: str
    chosen: str
    rejected: str | None = None
    system_prompt: str | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        before = () if self.system_prompt is None else (Message("system", self.system_prompt),)
        return (*before, Message("user", self.prompt))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. `learning_rate` None: the method's own; `beta`: of DPO and KTO. `save_steps`:
    optimiser steps between checkpoints. `modules`: names of linear layers; none: all that a block has.
    `from_layer`: blocks below it stay as they are, which spares them the way back; None: the lowest third.
    `new_tokens` are added to the vocabulary and trained whole; the adapter's folder then holds the
    tokenizer too."""

    method: Method = Method.SFT
    epochs: float = 3.0
    batch: int = 8
    learning_rate: float | None = None
    rank: int = 16
    alpha: int = 32
    modules: tuple[str, ...] = ()
    from_layer: int | None = None
    beta: float = 0.1
    max_tokens: int = 256  # of prompt and answer together; longer rows are left out and counted
    seed: int = 0
    save_steps: int = 20
    new_tokens: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        own = {Method.SFT: 5e-4, Method.DPO: 2e-4, Method.KTO: 2e-4}
        return own[self.method] if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True, slots=True)
class Trained:
    """`loss`: the mean over the training. `too_long`: rows that did not fit `Recipe.max_tokens`."""

    adapter: Path
    steps: int
    loss: float
    examples: int
    too_long: int
    resumed: bool


Told = Callable[[int, int, float], None]  # step, of, loss


def train(
    model: Path | str,
    examples: Sequence[Example],
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    about: str = "",
    told: Told = lambda step, of, loss: None,
) -> Trained:
    """Train a LoRA on the chat model `model` (a folder or an id); the adapter appears in `out`, whole or not
    at all.

    Args:
        resume: go on from the last checkpoint of a training with the same `about`, recipe and number
            of examples.
        about: whatever names the data; part of what a resumed training must agree in.

    Raises:
        ConfigError: `out` exists, no example is left, a method without what it needs, no chat template,
            TRL is not installed, or there is nothing to resume.
        TargetError: the loss or a weight was no number; no adapter is written.
    """
    if out.exists():
        raise ConfigError(f"--out {out}: exists already; name a new folder")
    if recipe.new_tokens and recipe.method is not Method.SFT:
        raise ConfigError(
            f"--method {recipe.method}: new tokens are learned by sft; a preference does not make them likely"
        )
    unpaired = recipe.method is not Method.SFT and all(e.rejected is None for e in examples)
    if unpaired:
        raise ConfigError(f"--method {recipe.method}: no example has an answer that is not wanted")
    half_made = out.with_name(f".{out.name}.part")
    known = {"recipe": asdict(recipe), "about": about, "examples": len(examples)}
    last = _last_checkpoint(half_made, known) if resume else None
    if resume and last is None:
        raise ConfigError(
            f"--resume: no checkpoint of this training beside {out}; start it without --resume"
        )
    if not resume and half_made.exists():
        shutil.rmtree(half_made)
    half_made.mkdir(parents=True, exist_ok=True)
    (half_made / _SETTINGS).write_text(json.dumps(known, sort_keys=True, default=str))
    trainer, kept = _trainer(model, examples, recipe, half_made / _CHECKPOINTS, device, told)
    done = trainer.train(resume_from_checkpoint=None if last is None else str(last))
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    sound = all(map(math.isfinite, (done.training_loss, *losses)))
    if not sound or not _are_numbers(trainer.model):
        shutil.rmtree(half_made)
        raise TargetError(
            f"the loss or the weights were no numbers after {trainer.state.global_step} steps; lower "
            f"--lr ({recipe.rate:g}); no adapter was written"
        )
    adapter = half_made / "adapter"
    # Trained rows are in the adapter; the whole table of embeddings need not be.
    trainer.model.save_pretrained(adapter, save_embedding_layers=False)
    (adapter / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
    if recipe.new_tokens:
        trainer.processing_class.save_pretrained(adapter)
    out.parent.mkdir(parents=True, exist_ok=True)
    adapter.rename(out)
    shutil.rmtree(half_made)
    steps = int(trainer.state.global_step)
    del trainer
    _free()
    return Trained(
        out, steps, float(done.training_loss), kept, len(examples) - kept, last is not None
    )


def _free() -> None:
    import gc

    from workers.engines import freed_memory

    gc.collect()
    freed_memory.give_back()


def _with_new_tokens(
    model: Any, tokenizer: Any, tokens: Sequence[str]
) -> dict[str, list[int]] | None:
    """Adds the tokens, each beginning as the mean of the tokens that spell it; which rows of which layers
    PEFT is to train. None: there are no tokens."""
    if not tokens:
        return None
    import torch

    from workers.engines.loading import widen

    spelled = [tokenizer(token, add_special_tokens=False)["input_ids"] for token in tokens]
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    rows = tokenizer.convert_tokens_to_ids(list(tokens))
    widen(model, tokenizer)
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    with torch.no_grad():
        for layer in layers:
            for row, spelling in zip(rows, spelled, strict=True):
                layer.weight[row] = layer.weight[spelling].mean(dim=0)
    apart = layers if layers[0].weight is not layers[1].weight else layers[:1]
    return {
        name.rpartition(".")[2]: rows
        for name, module in model.named_modules()
        if any(module is layer for layer in apart)
    }


def _linear_layers(model: Any) -> list[str]:
    """Names of the linear layers in the numbered blocks."""
    import torch

    found = (
        name.rsplit(".", 1)[1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and re.search(r"\.\d+\.", name)
    )
    return sorted(set(found))


def _are_numbers(model: Any) -> bool:
    """Whether all trained weights are; the last step is followed by no loss that would tell."""
    return all(bool(w.isfinite().all()) for w in model.parameters() if w.requires_grad)


def _last_checkpoint(half_made: Path, known: dict[str, Any]) -> Path | None:
    """The newest one, where it is of the same training."""
    from transformers.trainer_utils import get_last_checkpoint

    settings = half_made / _SETTINGS
    if not settings.exists():
        return None
    if json.loads(settings.read_text()) != json.loads(json.dumps(known, default=str)):
        raise ConfigError(
            f"--resume: {half_made} is of another training (other data, method or settings); start "
            "without --resume"
        )
    checkpoints = half_made / _CHECKPOINTS
    found = get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None
    return None if found is None else Path(found)


def _trainer(
    model: Path | str,
    examples: Sequence[Example],
    recipe: Recipe,
    folder: Path,
    device: str,
    told: Told,
) -> tuple[Any, int]:
    """TRL's trainer of the method, and how many examples fit."""
    try:
        import trl
    except ImportError:
        raise ConfigError("TRL is not installed; pip install 'evocliff[train]'") from None
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    from workers.engines import freed_memory
    from workers.engines.device import pick_device, pick_dtype

    tokenizer = AutoTokenizer.from_pretrained(model)
    if not tokenizer.chat_template:
        raise ConfigError(
            f"target.model: {model} has no chat template, so there is no chat to train"
        )
    place = pick_device(device)
    on_cuda = place.type == "cuda"
    precision = pick_dtype("auto", place)
    if precision is torch.float16:  # its gradients vanish
        precision = torch.float32
    if not on_cuda:
        freed_memory.keep()
    # Rows are short here: on CPU the plain product of all keys and queries is quicker than the fused one.
    attention = {} if on_cuda else {"attn_implementation": "eager"}
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=precision, **attention)
    new_rows = _with_new_tokens(loaded, tokenizer, recipe.new_tokens)
    fitting = [e for e in examples if _length(tokenizer, e) <= recipe.max_tokens]
    rows = _rows(fitting, recipe.method)
    if not rows:
        raise ConfigError("no example is left to train on")
    n_layers = loaded.config.get_text_config().num_hidden_layers
    from_layer = n_layers // 3 if recipe.from_layer is None else recipe.from_layer
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.modules) or _linear_layers(loaded),
        layers_to_transform=list(range(from_layer, n_layers)) if from_layer else None,
        task_type="CAUSAL_LM",
        trainable_token_indices=new_rows,
    )

    class Telling(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> Any:
            loss = (logs or {}).get("loss")
            if loss is not None:
                told(state.global_step, state.max_steps, loss)
                control.should_training_stop |= not math.isfinite(loss)
            return control

    config, trainer = {
        Method.SFT: (trl.SFTConfig, trl.SFTTrainer),
        Method.DPO: (trl.DPOConfig, trl.DPOTrainer),
        Method.KTO: (trl.KTOConfig, trl.KTOTrainer),
    }[recipe.method]
    own = {"beta": recipe.beta} if recipe.method is not Method.SFT else {}
    arguments = config(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        max_length=recipe.max_tokens,
        gradient_checkpointing=False,
        bf16=on_cuda and precision is torch.bfloat16,
        use_cpu=not on_cuda,
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen
        save_steps=recipe.save_steps,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **own,
    )
    made = trainer(
        model=loaded,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Telling()],
    )
    head = made.model.get_output_embeddings()
    if not hasattr(head, "bias"):
        head.bias = None  # TRL asks for it, and PEFT's layer of trained tokens does not pass it on
    from transformers import PrinterCallback

    made.remove_callback(PrinterCallback)
    return made, len(fitting)


def _rows(examples: Sequence[Example], method: Method) -> list[dict[str, Any]]:
    """As TRL wants them: prompt and completion of chats, the loss on the completion alone."""

    def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
        return [{"role": m.role, "content": m.content} for m in messages]

    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows: list[dict[str, Any]] = []
    for e in examples:
        prompt = turns(e.messages)
        if method is Method.SFT:
            rows.append({"prompt": prompt, "completion": said(e.chosen)})
        elif method is Method.DPO and e.rejected is not None:
            rows.append({"prompt": prompt, "chosen": said(e.chosen), "rejected": said(e.rejected)})
        elif method is Method.KTO:
            rows.append({"prompt": prompt, "completion": said(e.chosen), "label": True})
            if e.rejected is not None:
                rows.append({"prompt": prompt, "completion": said(e.rejected), "label": False})
    return rows


def _length(tokenizer: Any, example: Example) -> int:
    """Tokens of the prompt with the longer of its answers."""
    turns = [{"role": m.role, "content": m.content} for m in example.messages]
    longest = max((example.chosen, example.rejected or ""), key=len)
    whole = [*turns, {"role": "assistant", "content": longest}]
    return len(tokenizer(tokenizer.apply_chat_template(whole, tokenize=False))["input_ids"])
