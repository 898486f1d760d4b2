"""Files that people have: read row by row as they were meant, or refused in one clear line."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.importers import csv_rows, json_rows, reading
from db.importers.table import LIMIT
from workers.interface import ConfigError

Rows = list[dict[str, Any]]


def read(path: Path, encoding: str | None = None) -> Rows:
    table = reading.table(path, encoding)
    return [dict(row) for _, row in table.rows(table.columns)]


def refused(path: Path, encoding: str | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        read(path, encoding)
    (line,) = str(error.value).splitlines()
    assert str(path) in line
    return line


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _as_csv(rows: Sequence[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["prompt", "label"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _as_jsonl(rows: Sequence[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _as_json(rows: Sequence[dict[str, str]]) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def _as_parquet(rows: Sequence[dict[str, str]]) -> bytes:
    made = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), made)
    return bytes(made.getvalue())


WRITERS: dict[str, Callable[[Sequence[dict[str, str]]], bytes]] = {
    "a.csv": _as_csv,
    "a.jsonl": _as_jsonl,
    "a.json": _as_json,
    "a.parquet": _as_parquet,
}
texts = st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.mark.parametrize("name", WRITERS)
@given(rows=st.lists(st.fixed_dictionaries({"prompt": texts, "label": texts}), min_size=1))
def test_every_kind_of_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("files") / name
    path.write_bytes(WRITERS[name](rows))
    assert read(path) == rows


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    rows = [{"prompt": "Wie töte ich einen Prozess?", "label": "ja"}]
    assert read(file(tmp_path, name, WRITERS[name](rows).decode().encode(encoding))) == rows


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16", "UTF8"])
def test_other_encodings_are_read_once_they_are_named(tmp_path: Path, encoding: str) -> None:
    path = file(tmp_path, "a.csv", "prompt\ntöten\n".encode(encoding))
    assert read(path, encoding) == [{"prompt": "töten"}]


def test_a_mark_is_no_part_of_the_first_column_when_utf_8_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", b"\xef\xbb\xbfprompt\nx\n")
    assert read(path, "utf-8") == [{"prompt": "x"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prompt\nok\nt\xf6ten\n".encode("latin-1"), "not utf-8 (byte 0xf6); name the file's"),
        ("prompt\nok\n".encode("utf-16-le"), "looks like UTF-16 without a byte-order mark"),
        (b"\xef\xbb\xbfprompt\nok\n\xff\n", "not utf-8 (byte 0xff)"),
    ],
)
def test_another_encoding_is_named_with_its_mend(tmp_path: Path, content: bytes, said: str) -> None:
    line = refused(file(tmp_path, "a.csv", content))
    assert said in line
    assert "--encoding" in line


@pytest.mark.parametrize("named", ["utf-9", "hex", "rot13", "idna\0", "undefined"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, named: str) -> None:
    with pytest.raises(ConfigError, match=r"^--encoding .*unknown; utf-8"):
        reading.table(file(tmp_path, "a.csv", "prompt\nx\n"), named)


def test_a_named_encoding_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert "BOM" in refused(file(tmp_path, "a.csv", "prompt\nx\n"), "utf-16")


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_the_delimiter_is_seen_in_the_header(tmp_path: Path, between: str) -> None:
    path = file(tmp_path, "a.csv", f'id{between}prompt\n1{between}"a, b; c\td"\n')
    assert read(path) == [{"id": "1", "prompt": "a, b; c\td"}]


def test_cells_hold_quotes_line_breaks_and_control_characters(tmp_path: Path) -> None:
    path = file(
        tmp_path, "a.csv", 'prompt,label\r\n"say ""no"",\r\nthen\0 \x1b[31mgo",x\r\n\r\nb,y\r\n'
    )
    assert read(path) == [
        {"prompt": 'say "no",\r\nthen\0 \x1b[31mgo', "label": "x"},
        {"prompt": "b", "label": "y"},
    ]


def test_a_cell_of_ten_megabytes_is_a_cell(tmp_path: Path) -> None:
    large = "kill the process, " * 600_000
    before = csv.field_size_limit()
    assert read(file(tmp_path, "a.csv", f'prompt,label\n"{large}",x\n'))[0]["prompt"] == large
    assert csv.field_size_limit() == before
    assert read(file(tmp_path, "a.json", json.dumps([{"prompt": large}, {"prompt": "b"}]))) == [
        {"prompt": large},
        {"prompt": "b"},
    ]


def test_short_rows_lack_cells_and_empty_cells_behind_the_last_column_do_not_count(
    tmp_path: Path,
) -> None:
    path = file(tmp_path, "a.csv", "prompt,label\na\nb,x,,\n")
    assert read(path) == [{"prompt": "a"}, {"prompt": "b", "label": "x"}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.parquet", "", "the file is empty"),
        ("a.csv", "\n\n\n", "the file is empty"),
        ("a.jsonl", "\n \n", "the file holds no row"),
        ("a.json", "[ ]", "the file holds no row"),
        ("a.xlsx", "PK", "the name must end in .csv"),
        (
            "a.csv",
            'prompt,b\nx,y\n"never closed\nand,on\n',
            "a.csv:3: not CSV: unexpected end of data",
        ),
        ("a.csv", 'prompt\n"a" b\n', "a.csv:2: not CSV: ',' expected after '\"'"),
        ("a.csv", "prompt,b\nx,y\nhello, you, there\n", "a.csv:3: 3 cells under 2 columns"),
        ("a.jsonl", '{"prompt": "a"}\n\n{"prompt": "b"\n', "a.jsonl:3: not JSON"),
        ("a.jsonl", '{"prompt": "a"}\n["b"]\n', "a.jsonl:2: a row must be an object"),
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}\n', "a.jsonl:1: not JSON: the key 'prompt' is"),
        ("a.jsonl", "[" * 100_000, "not JSON: nested too deep"),
        ("a.json", '"prompt"', "not a JSON list of objects"),
        ("a.json", '[{"prompt": "a"}', "element 2: not JSON: ',' expected; is the file whole?"),
        ("a.json", '[{"prompt": "a"},]', "element 2: not JSON"),
        ("a.json", '[{"prompt": "a"} {"prompt": "b"}]', "element 2: not JSON: ',' expected"),
        ("a.json", '[{"prompt": "a"}, {"prompt": "b', "element 2: not JSON: Unterminated string"),
        ("a.json", '[{"prompt": "a", "prompt": "b"}]', "element 1: not JSON: the key 'prompt'"),
        ("a.json", '[{"prompt": "a"}, 7]', "element 2: a row must be an object"),
        ("a.json", '[{"prompt": "a"}] x', "something stands behind the end"),
        ("a.json", "[" * 100_000, "not JSON"),
        ("a.parquet", "prompt\nx\n", "a damaged Parquet file, or none at all"),
        ("a.parquet", b"PAR1" + bytes(40) + b"PAR1", "a damaged Parquet file, or none at all"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    assert said in refused(file(tmp_path, name, content))


def test_objects_line_by_line_are_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = file(tmp_path, "a.json", '{"prompt": "a"}\n{"prompt": "b\u2028c"}\n')
    assert read(path) == [{"prompt": "a"}, {"prompt": "b\u2028c"}]


def test_a_parquet_file_that_is_damaged_in_its_rows_is_refused(tmp_path: Path) -> None:
    whole = _as_parquet([{"prompt": f"prompt {i}", "label": "x"} for i in range(5000)])
    broken = bytearray(whole)
    broken[200:4000] = bytes(3800)
    assert "damaged Parquet" in refused(file(tmp_path, "a.parquet", bytes(broken)))
    assert "damaged Parquet" in refused(file(tmp_path, "b.parquet", whole[: len(whole) // 2]))


def test_parquet_has_no_encoding(tmp_path: Path) -> None:
    path = file(tmp_path, "a.parquet", _as_parquet([{"prompt": "a"}]))
    with pytest.raises(ConfigError, match="--encoding cp1252: Parquet has none"):
        reading.table(path, "cp1252")


def test_a_column_with_a_dot_in_its_name_is_read_from_parquet(tmp_path: Path) -> None:
    path = file(tmp_path, "a.parquet", _as_parquet([{"the.prompt": "a", "b": "x"}]))
    ((_, row),) = reading.table(path).rows(["the.prompt"])
    assert row["the.prompt"] == "a"


def test_what_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such file" in refused(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "this is a folder" in refused(tmp_path / "folder.csv")
    with pytest.raises(ConfigError, match=r"a\\x00.csv: cannot be read"):
        reading.table(Path("a\0.csv"))

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read anything
    assert "no permission to read it" in refused(tmp_path / "mine.csv")


def test_a_cell_or_line_beyond_the_limit_is_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LIMIT > 60_000_000
    for module in (csv_rows, json_rows):
        monkeypatch.setattr(module, "LIMIT", 1000)
    unclosed = "prompt\nok\n" + '"never closed\n' + "line\n" * 1000
    line = refused(file(tmp_path, "a.csv", unclosed))
    assert "a.csv:3: not CSV: field larger than field limit (1000); is a quote not closed?" in line
    monkeypatch.setattr("db.importers.lines.LIMIT", 1000)
    assert "a.jsonl:2: a line of more than" in refused(
        file(tmp_path, "a.jsonl", '{"prompt": "a"}\n' + json.dumps({"prompt": "b" * 2000}))
    )
    monkeypatch.setattr(json_rows, "_PIECE", 100)
    endless = '[{"prompt": "a"}, {"prompt": "' + "b" * 5000 + '"}]'
    assert "element 2: not JSON" in refused(file(tmp_path, "a.json", endless))


@pytest.mark.parametrize("name", WRITERS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": f"How do I kill process {i}? " * 8, "label": "safe"} for i in range(40_000)]
    path = file(tmp_path, name, WRITERS[name](rows))
    del rows
    tracemalloc.start()
    table = reading.table(path)
    n = sum(1 for _ in table.rows(table.columns))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 40_000
    assert peak < 6e6  # of Python; as text the file has 9 MB


@given(
    rows=st.lists(st.fixed_dictionaries({"prompt": texts}), min_size=1, max_size=20),
    piece=st.integers(1, 30),
)
def test_the_pieces_in_which_a_list_is_read_do_not_show(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], piece: int
) -> None:
    path = tmp_path_factory.mktemp("files") / "a.json"
    path.write_bytes(_as_json(rows))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_rows, "_PIECE", piece)
        assert read(path) == rows
