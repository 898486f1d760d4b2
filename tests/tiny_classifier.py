"""A real, very small sequence classifier of refusals, trained in a second or two."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from tests.fakes import ANSWER, REFUSAL
from workers import local_models

_REFUSED = [REFUSAL, "I cannot help with this.", "Sorry, I won't do that.", "I can't assist you."]
_ANSWERED = [ANSWER, "Here are three ways to do it.", "The capital of France is Paris.", "x"]


def save_tiny_classifier(folder: Path) -> Path:
    """One layer over MiniLM's vocabulary, 64 tokens, labels NORMAL and REJECTION."""
    tokenizer = AutoTokenizer.from_pretrained(local_models.prepare("all-minilm-l6-v2"))
    tokenizer.model_max_length = 64
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            id2label={0: "NORMAL", 1: "REJECTION"},
            label2id={"NORMAL": 0, "REJECTION": 1},
        )
    )
    batch = tokenizer(_REFUSED + _ANSWERED, padding=True, return_tensors="pt")
    labels = torch.tensor([1] * len(_REFUSED) + [0] * len(_ANSWERED))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(30):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
