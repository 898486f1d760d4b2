"""Seeds: named sets and users' files, and one clear line for whatever is wrong with them."""

from pathlib import Path

import pytest

from evo import seeds
from evo.config import SeedsConfig
from workers.interface import ConfigError


def load(tmp_path: Path, name: str, content: str | bytes, column: str = "prompt") -> list[str]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [s.text for s in seeds.load(SeedsConfig(path=str(path), column=column), 0)]


def test_xstest_safe_has_its_250_prompts_with_licence_and_topic() -> None:
    loaded = seeds.load(SeedsConfig(dataset="xstest-safe"), 0)
    assert len(loaded) == 250
    assert {s.licence for s in loaded} == {"CC-BY-4.0"}
    assert len({s.topic for s in loaded}) == 10


def test_a_limit_draws_the_same_share_for_the_same_seed() -> None:
    config = SeedsConfig(dataset="xstest-safe", limit=60)
    first, again, other = (seeds.load(config, seed) for seed in (0, 0, 1))
    assert len(first) == 60
    assert first == again != other
    assert len({s.topic for s in first}) > 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"prompt": "one"}\n\n{"prompt": "two"}\n{"prompt": "ONE"}\n'),
        ("a.csv", 'prompt,type\n"one",x\n"two",y\n"One ",x\n'),
        ("a.csv", b"\xef\xbb\xbfprompt\none\ntwo\n"),
        ("a.txt", "one\n\ntwo\none\n"),
    ],
)
def test_files_are_read_and_repeated_prompts_kept_once(
    tmp_path: Path, name: str, content: str | bytes
) -> None:
    assert load(tmp_path, name, content) == ["one", "two"]


def test_an_exotic_line_separator_inside_a_string_ends_no_row(tmp_path: Path) -> None:
    assert load(tmp_path, "a.jsonl", '{"prompt": "a\u2028b"}\n') == ["a\u2028b"]
    assert load(tmp_path, "a.csv", 'prompt\n"a\u2028b"\n') == ["a\u2028b"]


def test_a_cell_may_hold_newlines_and_quotes(tmp_path: Path) -> None:
    assert load(tmp_path, "a.csv", 'prompt\n"line 1\nline ""2"""\n') == ['line 1\nline "2"']


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "", "holds no prompt"),
        ("a.jsonl", '{"text": "x"}', "has no 'prompt'; it has text"),
        ("a.csv", "text\nx\n", "has no 'prompt'; it has text"),
        ("a.jsonl", '{"prompt": 3}', "a.jsonl:1: 'prompt' is not text but int"),
        ("a.jsonl", '{"prompt": null}', "is not text but NoneType"),
        ("a.jsonl", '{"prompt": "  "}', "is empty"),
        ("a.jsonl", '{"prompt": "\\ud800 x"}', "half of a surrogate pair"),
        ("a.jsonl", "[1]", "a row must be an object"),
        ("a.jsonl", "{", "a.jsonl:1: not JSON"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read as UTF-8"),
        ("a.xlsx", "x", "must end in"),
    ],
)
def test_each_mistake_names_the_place(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, name, content)
    assert said in str(caught.value)


def test_unknown_sets_and_absent_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'xstest-safe'"):
        seeds.load(SeedsConfig(dataset="xstest"), 0)
    with pytest.raises(ConfigError, match="no such file"):
        seeds.load(SeedsConfig(path=str(tmp_path / "x.jsonl")), 0)
