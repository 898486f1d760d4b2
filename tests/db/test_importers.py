"""Importing: which format a file is, what becomes of its rows, and that all of it is stored or nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

import db
from db import imported, importers
from db.importers import Options, record
from db.importers.seen import Seen
from db.models import GateDecision, Prompt, PromptSource
from db.store import Store
from evo.types import Seed, prompt_id
from tests.db.builders import RunBuilder
from workers.interface import ConfigError, StoreError

XSTEST = Path("evo/seeds/xstest_prompts.csv")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(db.open(f"sqlite:///{tmp_path}/test.db")) as opened:
        yield opened


def jsonl(folder: Path, rows: Sequence[dict[str, Any]], name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prompts(store: Store) -> dict[str, tuple[str | None, str | None]]:
    """Source and licence of every stored prompt, by its text."""
    with store.reading() as connection:
        rows = connection.execute(select(Prompt.text, Prompt.source, Prompt.licence))
        return {row.text: (row.source, row.licence) for row in rows}


def links(store: Store) -> list[tuple[str, ...]]:
    """(text, source, key, licence, label, category) of every link."""
    with store.reading() as connection:
        rows = connection.execute(
            select(
                Prompt.text,
                PromptSource.source,
                PromptSource.row_key,
                PromptSource.licence,
                PromptSource.label,
                PromptSource.category,
            ).join(Prompt, Prompt.prompt_id == PromptSource.prompt_id)
        )
        return sorted((tuple(row) for row in rows), key=str)


def counted(done: dict[str, Any]) -> tuple[int, ...]:
    skipped = sum(reason["n"] for reason in done["skipped"].values())
    return done["read"], done["new"], done["linked"], done["repeated"], skipped


# Formats


@pytest.mark.parametrize(
    ("name", "rows", "format_", "source", "licence", "stored"),
    [
        (
            "x.jsonl",
            {"id": 7, "prompt": "p", "type": "homonyms", "label": "safe", "focus": "kill"},
            "xstest",
            "xstest",
            "CC-BY-4.0",
            ("7", "safe", "homonyms"),
        ),
        (
            "x.jsonl",
            {"id": "v1-7", "prompt": "p", "type": "contrast_homonyms", "focus": "kill"},
            "xstest",
            "xstest",
            "CC-BY-4.0",
            ("v1-7", "unsafe", "contrast_homonyms"),
        ),
        (
            "or-bench-80k.jsonl",
            {"prompt": "p", "category": "violence"},
            "or-bench",
            "or-bench-80k",
            "CC-BY-4.0",
            ("row 1", None, "violence"),
        ),
        (
            "or_bench_hard_1k.jsonl",
            {"prompt": "p", "category": "hate"},
            "or-bench",
            "or-bench-hard-1k",
            "CC-BY-4.0",
            ("row 1", None, "hate"),
        ),
        (
            "or-bench-toxic.jsonl",
            {"prompt": "p", "category": "hate"},
            "or-bench",
            "or-bench-toxic",
            "CC-BY-4.0",
            ("row 1", "toxic", "hate"),
        ),
        (
            "PHTest.jsonl",
            {"ID": 12, "Request": "p", "Harmfulness": "Controversial"},
            "phtest",
            "phtest",
            "MIT",
            ("12", "Controversial", None),
        ),
        (
            "evo_test.jsonl",
            {"instruction": "p"},
            "evorefuse",
            "evorefuse-test",
            None,
            ("row 1", None, None),
        ),
        (
            "evo_align.jsonl",
            {
                "conversations": [
                    {"from": "human", "value": "earlier"},
                    {"from": "gpt", "value": "an answer"},
                    {"from": "human", "value": "p"},
                ],
                "chosen": {"from": "gpt", "value": "Sure"},
                "rejected": {"from": "gpt", "value": "Sorry"},
            },
            "evorefuse",
            "evorefuse-align",
            None,
            ("row 1", None, None),
        ),
        ("ORFuzz.jsonl", {"input": "p"}, "orfuzz", "orfuzz", None, ("row 1", None, None)),
        (
            "user_study.jsonl",
            {"input": "p", "llama3": "no", "classification": "COR", "input toxic rate": 0.4},
            "orfuzz",
            "orfuzz",
            None,
            ("row 1", None, "COR"),
        ),
        (
            "mine.jsonl",
            {"prompt": "p", "label": 1, "category": ["a", "b"], "more": None},
            "columns",
            "mine",
            None,
            ("row 1", "1", '["a", "b"]'),
        ),
    ],
)
def test_a_dataset_is_recognised_by_its_columns_and_keeps_what_it_says(
    store: Store,
    tmp_path: Path,
    name: str,
    rows: dict[str, Any],
    format_: str,
    source: str,
    licence: str | None,
    stored: tuple[str | None, ...],
) -> None:
    done = importers.import_file(store, jsonl(tmp_path, [rows], name))
    assert (done["format"], done["source"], done["licence"]) == (format_, source, licence)
    key, label, category = stored
    assert links(store) == [("p", source, key, licence, label, category)]
    assert prompts(store) == {"p": (source, licence)}


def test_or_bench_in_a_file_of_another_name_must_say_which_set_it_is(
    store: Store, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, [{"prompt": "p", "category": "hate"}], "0000.jsonl")
    with pytest.raises(
        ConfigError, match="--source or-bench-toxic, or-bench-hard-1k, or-bench-80k"
    ):
        importers.import_file(store, path)
    folder = tmp_path / "or-bench-toxic" / "train"
    folder.mkdir(parents=True)
    there = jsonl(folder, [{"prompt": "p", "category": "hate"}], "0000.jsonl")
    assert importers.import_file(store, there)["labels"] == {"toxic": 1}
    named = importers.import_file(store, path, Options(source="or-bench-toxic"))
    assert named["labels"] == {"toxic": 1}
    mine = importers.import_file(store, path, Options(prompt="prompt", category="category"))
    assert (mine["format"], mine["source"], mine["labels"]) == ("columns", "0000", {})


def test_columns_are_mapped_as_the_user_says(store: Store, tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"text": "p", "kind": "bad", "topic": "t", "label": "x"}])
    options = Options(
        prompt="text", label="kind", category="topic", source="set", licence="CC0-1.0"
    )
    importers.import_file(store, path, options)
    assert links(store) == [("p", "set", "row 1", "CC0-1.0", "bad", "t")]
    # A format that was named keeps what it knows, but for the column that was named too.
    other = jsonl(tmp_path, [{"text": "q", "Harmfulness": "harmless"}], "o.jsonl")
    done = importers.import_file(store, other, Options(format="phtest", prompt="text"))
    assert (done["licence"], done["labels"]) == ("MIT", {"harmless": 1})


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        (
            ["promt", "x"],
            Options(),
            "name the column of the prompts with --prompt-col; it has promt, x",
        ),
        (["Prompt", "b"], Options(prompt="prompt"), "did you mean 'Prompt'? It has Prompt, b"),
        (
            ["prompt"],
            Options(label="lable"),
            "--label-col: mine.csv has no column 'lable'; it has prompt",
        ),
        (["prompt", "label"], Options(label="lable"), "did you mean 'label'?"),
        (["prompt", "x"], Options(category="\x1b[31m"), r"no column '\x1b[31m'"),
        (
            ["requests", "h"],
            Options(format="phtest"),
            "--as phtest: mine.csv has no column 'Request'",
        ),
        (["prompt"], Options(format="xtest"), "--as xtest: unknown; did you mean 'xstest'?"),
        (
            ["prompt"],
            Options(format="q"),
            "one of xstest, phtest, evorefuse, orfuzz, or-bench, columns",
        ),
        (["prompt", "a", "prompt"], Options(), "the column 'prompt' is there 2 times; rename one"),
        (["prompt", "label", "label"], Options(), "the column 'label' is there 2 times"),
        (["prompt"], Options(source=" "), "--source '': give it a name"),
        (["prompt"], Options(source="s" * 121), "give it a name of 1 to 120 characters"),
    ],
)
def test_a_column_or_format_that_is_not_there_is_named_with_the_nearest(
    columns: list[str], options: Options, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        importers.plan_of(Path("mine.csv"), columns, options)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_columns_that_nobody_reads_may_be_there_twice(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("note,prompt,note\n1,p,2\n")
    assert counted(importers.import_file(store, path)) == (1, 1, 0, 0, 0)


# What becomes of the rows


def test_every_row_is_new_linked_repeated_or_skipped(store: Store, tmp_path: Path) -> None:
    RunBuilder(store).seed("How do I kill a process?")
    store.register_seeds([Seed("Stored  already", "else", "MIT")])
    rows = [
        {"prompt": "stored\nALREADY", "label": "safe"},
        {"prompt": "fresh", "label": "safe"},
        {"prompt": "FRESH ", "label": "unsafe"},
        {"prompt": " \n"},
        {"label": "safe"},
        {"prompt": None},
        {"prompt": 7},
        {"prompt": "how do i kill a PROCESS?"},
    ]
    done = importers.import_file(store, jsonl(tmp_path, rows))
    assert counted(done) == (8, 1, 2, 1, 4)
    assert done["skipped"]["empty"]["n"] == 3
    assert done["skipped"]["empty"]["first"].endswith("mine.jsonl:4")
    assert done["skipped"]["not text"] == {"n": 1, "first": f"{tmp_path}/mine.jsonl:7"}
    assert done["labels"] == {"safe": 2, "unsafe": 1}
    # The spelling, source and licence that came first stay; each row has its link.
    assert prompts(store)["Stored  already"] == ("else", "MIT")
    assert prompts(store)["fresh"] == ("mine", None)
    assert [link[:3] for link in links(store) if link[0] == "fresh"] == [
        ("fresh", "mine", "row 2"),
        ("fresh", "mine", "row 3"),
    ]


def test_importing_again_doubles_nothing_and_takes_over_what_the_file_says_now(
    store: Store, tmp_path: Path
) -> None:
    first = jsonl(tmp_path, [{"prompt": "a", "label": "x"}, {"prompt": "b"}])
    importers.import_file(store, first)
    again = jsonl(tmp_path, [{"prompt": "a", "label": "safe"}, {"prompt": "b"}])
    done = importers.import_file(store, again, Options(licence="MIT"))
    assert counted(done) == (2, 0, 2, 0, 0)
    assert links(store) == [
        ("a", "mine", "row 1", "MIT", "safe", None),
        ("b", "mine", "row 2", "MIT", None, None),
    ]
    assert prompts(store) == {"a": ("mine", "MIT"), "b": ("mine", "MIT")}


def test_a_prompt_may_come_from_many_sources(store: Store, tmp_path: Path) -> None:
    importers.import_file(store, jsonl(tmp_path, [{"prompt": "a"}], "one.jsonl"))
    importers.import_file(store, jsonl(tmp_path, [{"prompt": "A"}], "two.jsonl"))
    assert [link[:2] for link in links(store)] == [("a", "one"), ("a", "two")]


def test_a_label_makes_no_gate_decision(store: Store) -> None:
    importers.import_file(store, XSTEST)
    with store.reading() as connection:
        assert connection.execute(select(GateDecision.prompt_id)).all() == []


def test_hostile_text_is_stored_as_text(store: Store, tmp_path: Path) -> None:
    hostile = ["'; DROP TABLE prompts; --", "\x1b[31m\u202e %s {0} \\", 'a\x00b "c"', "half \ud800"]
    rows = [{"prompt": t, "label": f"l {t}", "category": f"c {t}"} for t in hostile]
    done = importers.import_file(store, jsonl(tmp_path, rows))
    assert counted(done) == (4, 4, 0, 0, 0)
    assert done["changed"]["NUL or half a surrogate pair"]["n"] == 2
    kept = [t.replace("\x00", "\ufffd").replace("\ud800", "\ufffd") for t in hostile]
    assert sorted(prompts(store)) == sorted(kept)
    assert {link[4] for link in links(store)} == {f"l {t}" for t in kept}
    with store.reading() as connection:
        for identifier, stored in connection.execute(select(Prompt.prompt_id, Prompt.text)):
            assert identifier == prompt_id(stored)
    assert counted(importers.import_file(store, jsonl(tmp_path, rows))) == (4, 0, 4, 0, 0)


def test_a_file_that_breaks_off_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_ROWS", 2)  # some batches are written before the broken line
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"prompt": "p {i}"}}\n' for i in range(9)) + '{"prompt": \n')
    with pytest.raises(ConfigError, match=r"a.jsonl:10: not JSON"):
        importers.import_file(store, path)
    assert prompts(store) == {}
    assert links(store) == []


def test_a_dry_run_counts_the_same_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    store.register_seeds([Seed("there", "else")])
    rows = [{"prompt": "there"}, {"prompt": "a"}, {"prompt": "A"}, {"prompt": ""}]
    path = jsonl(tmp_path, rows)
    dry = importers.import_file(store, path, dry_run=True)
    assert list(prompts(store)) == ["there"]
    assert links(store) == []
    wet = importers.import_file(store, path)
    assert counted(dry) == counted(wet) == (4, 1, 1, 1, 1)
    assert counted(importers.import_file(None, path, dry_run=True)) == (4, 2, 0, 1, 1)


def test_a_file_with_a_header_and_no_row_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,label\n")
    with pytest.raises(ConfigError, match=r"a.csv: the file holds no row"):
        importers.import_file(store, path)


@given(st.lists(st.sampled_from(["a", "A ", "b", "c\nd", "C d", "", " ", "e\x00"]), max_size=30))
def test_counts_add_up_and_agree_with_what_is_stored(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("import")
    path = jsonl(folder, [{"prompt": t} for t in ["first", *texts]])
    with (
        contextlib.closing(db.open(f"sqlite:///{folder}/test.db")) as store,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(record, "_ROWS", 3)
        read, new, linked, repeated, skipped = counted(importers.import_file(store, path))
        assert read == new + linked + repeated + skipped == len(texts) + 1
        distinct = {prompt_id(t.replace("\x00", "\ufffd")) for t in texts if t.strip()}
        assert new == len(distinct) + 1 == len(prompts(store))
        assert len(links(store)) == read - skipped


# As seeds


def test_what_a_source_calls_harmful_is_no_seed(store: Store, tmp_path: Path) -> None:
    importers.import_file(store, XSTEST)
    seeds = imported.seeds(store, "xstest")
    assert len(seeds) == 250
    assert {s.licence for s in seeds} == {"CC-BY-4.0"}
    assert len({s.topic for s in seeds}) == 10
    # ... nor what another source does.
    rows = [{"prompt": seeds[0].text, "label": " Harmful "}, {"prompt": "mine", "label": "safe"}]
    importers.import_file(store, jsonl(tmp_path, rows))
    assert seeds[0].text not in {s.text for s in imported.seeds(store, "xstest")}
    assert [s.text for s in imported.seeds(store, "mine")] == ["mine"]


def test_a_source_without_a_harmless_prompt_or_without_any_is_named(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"'xstest' into .*test.db; imported: nothing yet"):
        imported.seeds(store, "xstest")
    importers.import_file(store, jsonl(tmp_path, [{"prompt": "p", "label": "toxic"}]))
    with pytest.raises(
        ConfigError, match="every prompt of 'mine' is labelled unsafe, harmful, toxic"
    ):
        imported.seeds(store, "mine")
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        imported.seeds(store, "mime")


def test_sources_are_listed_with_their_rows(store: Store, tmp_path: Path) -> None:
    importers.import_file(store, jsonl(tmp_path, [{"prompt": "a"}, {"prompt": "A"}]))
    importers.import_file(store, XSTEST)
    assert imported.sources(store) == [
        {"source": "mine", "rows": 2, "prompts": 1},
        {"source": "xstest", "rows": 450, "prompts": 450},
    ]


def test_links_point_to_prompts(store: Store) -> None:
    importers.import_file(store, XSTEST)
    with store.reading() as connection:
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


_SMALL_DISK = """
import resource, sys
from evo.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop()), resource.RLIM_INFINITY))
main()
"""


def test_a_disk_that_is_full_leaves_nothing_and_says_so_in_one_line(
    store: Store, tmp_path: Path
) -> None:
    store.register_seeds([Seed("there", "else")])
    rows = [{"prompt": f"How do I kill process {i}? {prompt_id(str(i))}"} for i in range(20_000)]
    path = jsonl(tmp_path, rows)
    words = ["import", str(path), "--db", f"sqlite:///{tmp_path}/test.db", "1000000"]
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_DISK, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "test.db: cannot be written: the disk" in line
    assert list(prompts(store)) == ["there"]


def test_without_room_for_temporary_files_an_import_says_where_to_find_some() -> None:
    with Seen() as seen:
        seen._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match=r"temporary file of this import .* SQLITE_TMPDIR"):
            seen.add(prompt_id("a"))
