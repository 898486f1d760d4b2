"""Places in a chat on four families of templates; the truth is written by hand.

The tokenizer is a small real one: letters of a word stay together, blanks and punctuation stand
alone, so every token can be named below.
"""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workers import chat, positions
from workers.interface import Failure, FailureKind, Message, StoredResponse

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "<|begin|>{% for m in messages %}<|head|>{{ m.role }}<|end_head|>\n\n{{ m.content | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|head|>assistant<|end_head|>\n\n{% endif %}"
)
DEEPSEEK = (
    "{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}{% else %}{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content.strip() }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
)
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin|>", "<|head|>", "<|end_head|>", "<|eot|>"]
SPECIAL += ["<|User|>", "<|Assistant|>", "<s>", "</s>"]
WORDS = "user assistant system Hi there stop Fine so Yes think INST thinking"


def tokenizer(template: str) -> Any:
    pieces = [*WORDS.split(), *"\n <>/[].?", *"abcdefghij", "?"]
    vocabulary = {t: i for i, t in enumerate(dict.fromkeys(["<unk>", *pieces]))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - a token
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\W"), "isolated")
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",  # noqa: S106
        additional_special_tokens=SPECIAL,
    )
    made.chat_template = template
    return made


def found(template: str, response: Any = None, prompt: str = "Hi there.") -> Any:
    made = tokenizer(template)
    tokens = positions.find(made, (Message("user", prompt),), response, room=99, key="k")
    assert isinstance(tokens, positions.Tokens)
    return tokens, [made.convert_ids_to_tokens(i) for i in tokens.ids]


@pytest.mark.parametrize(
    ("template", "instruction", "post"),
    [
        # <|im_start|> user \n Hi _ there . <|im_end|> \n <|im_start|> assistant \n
        (CHATML, 6, 11),
        # <|begin|> <|head|> user <|end_head|> \n \n Hi _ there . <|eot|> <|head|> assistant ...
        (LLAMA3, 9, 15),
        # <|User|> Hi _ there . <|Assistant|> < think > \n
        (DEEPSEEK, 4, 9),
        # <s> [ INST ] _ Hi _ there . _ [ / INST ]
        (LLAMA2, 8, 13),
    ],
    ids=["chatml", "llama-3", "deepseek", "llama-2"],
)
def test_the_ends_of_instruction_and_prompt(template: str, instruction: int, post: int) -> None:
    tokens, texts = found(template)
    assert (tokens.instruction, tokens.n_prompt - 1, len(texts) - 1) == (instruction, post, post)
    assert texts[instruction] == "."
    assert tokens.before_answer == post
    ids = chat.encode(tokenizer(template), (Message("user", "Hi there."),), room=99, key="k")
    assert list(tokens.ids) == ids


@pytest.mark.parametrize(
    ("template", "response", "thought", "before"),
    [
        # < think > \n Fine so . \n < / think > \n \n Yes: thought 4 to 7, blank before Yes at 13
        (CHATML, "<think>\nFine so.\n</think>\n\nYes", (12 + 4, 12 + 8), 12 + 14),
        (LLAMA3, "<think>\nFine so.\n</think>\n\nYes", (16 + 4, 16 + 8), 16 + 14),
        (LLAMA2, "<think>Fine</think>Yes", (14 + 3, 14 + 4), 14 + 7),
        # the prompt has opened it: Fine so . \n < / think > \n \n Yes
        (DEEPSEEK, "Fine so.\n</think>\n\nYes", (10, 10 + 4), 10 + 10),
    ],
    ids=["chatml", "llama-3", "llama-2", "deepseek"],
)
def test_the_thought_and_the_last_token_before_the_answer(
    template: str, response: str, thought: tuple[int, int], before: int
) -> None:
    tokens, texts = found(template, response)
    assert (tokens.thought, tokens.before_answer) == (thought, before)
    assert texts[thought[0]] == "Fine"
    assert texts[before + 1] == "Yes"


@pytest.mark.parametrize("template", [CHATML, DEEPSEEK])
def test_a_stored_response_has_the_tokens_of_the_generated_one(template: str) -> None:
    opened = template is DEEPSEEK
    raw = ("" if opened else "<think>\n") + "Fine so.\n</think>\n\nYes"
    assert found(template, raw)[0] == found(template, StoredResponse("Fine so.", "Yes"))[0]


def test_an_earlier_turn_with_the_same_words_is_not_taken_for_the_last() -> None:
    turns = (Message("user", "Hi"), Message("assistant", "Hi"), Message("user", "Hi"))
    tokens = positions.find(tokenizer(CHATML), turns, None, room=99, key="k")
    assert isinstance(tokens, positions.Tokens)
    assert tokens.instruction == 6 + 6 + 3  # <|im_start|> role \n Hi <|im_end|> \n, twice


def test_blanks_after_the_instruction_are_not_its_end() -> None:
    assert found(CHATML, prompt="Hi there.\n\n")[0].instruction == 6


@pytest.mark.parametrize(
    ("template", "prompt", "response", "kind"),
    [
        ("no turns at all", "Hi", None, FailureKind.TEMPLATE),
        ("{{ raise_exception('none') }}", "Hi", None, FailureKind.TEMPLATE),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "Hi", None, "template"),
        (CHATML, "  ", None, FailureKind.EMPTY),
        (CHATML, "Hi", " \n", FailureKind.EMPTY),
        (CHATML, "Hi " * 60, None, FailureKind.OVERLONG),
    ],
)
def test_what_has_no_places_is_a_failure_with_its_reason(
    template: str, prompt: str, response: str | None, kind: str
) -> None:
    answer = positions.find(
        tokenizer(template), (Message("user", prompt),), response, room=99, key="k"
    )
    assert isinstance(answer, Failure)
    assert answer.kind == kind


@pytest.mark.parametrize(
    ("template", "response", "thought", "before"),
    [
        (CHATML, "Yes", FailureKind.NO_THOUGHT, 11),
        (CHATML, "<think>\nFine so", FailureKind.THOUGHT_CUT, FailureKind.THOUGHT_CUT),
        (DEEPSEEK, "Fine so", FailureKind.THOUGHT_CUT, FailureKind.THOUGHT_CUT),
        # < think > \n \n < / think > Yes
        (CHATML, "<think>\n\n</think>Yes", FailureKind.NO_THOUGHT, 12 + 8),
    ],
)
def test_a_response_without_a_whole_thought_says_so(
    template: str, response: str, thought: FailureKind, before: Any
) -> None:
    tokens, _ = found(template, response)
    assert tokens.thought.kind == thought
    last = tokens.before_answer
    assert (last.kind if isinstance(last, Failure) else last) == before
