"""Readers: what is written comes back, and each kind of damage is told with its file and line."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.parts.data.readers import read_csv, read_fasta, read_json, read_jsonl

letters = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=30)


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5) | st.none()), max_size=5))
def test_json_lines_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert list(read_jsonl(path)) == rows


cell = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@given(st.lists(st.tuples(cell, cell), max_size=5))
def test_csv_comes_back_with_quotes_and_newlines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    assert [(row["a"], row["b"]) for row in read_csv(path)] == rows


@given(rows=st.lists(letters, min_size=1, max_size=4), width=st.integers(1, 10))
def test_fasta_comes_back_however_it_is_wrapped(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], width: int
) -> None:
    path = tmp_path_factory.mktemp("fasta") / "rows.fasta"
    lines = []
    for index, row in enumerate(rows):
        lines += [f">s{index} of a  test", *(row[start : start + width] for start in range(0, len(row), width)), ""]
    path.write_text("; a comment\n" + "\n".join(lines))
    records = list(read_fasta(path))
    assert [record.sequence for record in records] == rows
    assert [record.name for record in records] == [f"s{index}" for index in range(len(rows))]
    assert records[0].description == "of a  test"
    assert [lines[record.line - 2][:2] for record in records] == [">s"] * len(rows)


def test_types_convert_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\ufeffname;size\nx;1.5\n\ny;2\n", encoding="utf-8")  # with the mark that Excel writes
    rows = list(read_csv(path, types={"size": float}, delimiter=";"))
    assert rows == [{"name": "x", "size": 1.5}, {"name": "y", "size": 2.0}]


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert [row["a"] for row in read_jsonl(path, required=["a"])] == [1, 2]
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(UsageError, match="Not a whole gzip file"):
        list(read_jsonl(path))
    path.write_bytes(b"plain")
    with pytest.raises(UsageError, match="Not a whole gzip file"):
        list(read_jsonl(path))


def _csv_with_types(path: Path) -> Any:
    return read_csv(path, types={"a": int})


def _jsonl_with_key(path: Path) -> Any:
    return read_jsonl(path, required=["a"])


DAMAGED: list[tuple[Callable[[Path], Any], bytes, int | None, str]] = [
    (read_json, b'{"a": 1,\n "b" 2}', 2, "Not JSON: Expecting ':' delimiter at column 6."),
    (read_json, b'{"a": 1, "a": 2}', 1, "Key 'a' is there twice"),
    (read_jsonl, b'{"a": 1}\n\n{"a": }\n', 3, "Not JSON: Expecting value at column 7."),
    (read_jsonl, b'{"a": 1}\n[1]\n', 2, "this is a list"),
    (_jsonl_with_key, b'{"a": 1}\n{"b": 1, "c": 2}\n', 2, "Key 'a' is missing; there are: 'b', 'c'."),
    (read_jsonl, b'{"a": 1}\n{"a": "\xff"}\n', 2, "Not UTF-8: byte 0xff."),
    (read_csv, b"a,b\n1,2\n1,2,3\n", 3, "3 cells, but the first line names 2 columns."),
    (read_csv, b'a,b\n"1\n1",2\n3\n', 4, "1 cells"),
    (read_csv, b"a,a\n1,2\n", 1, "Column 'a' is there twice."),
    (read_csv, b"", 1, "There are no names."),
    (read_csv, b'a,b\n"1"x,2\n', 2, "Not CSV"),
    (_csv_with_types, b"a,b\n1,2\nx,2\n", 3, "Column 'a': 'x' is no int."),
    (_csv_with_types, b"c,b\n1,2\n", 1, "There is no column 'a'; there are: 'c', 'b'."),
    (read_fasta, b"MKV\n>a\nMKV\n", 1, "Letters before the first '>'."),
    (read_fasta, b">a\nMKV\nM1V\n", 3, "'1' is no letter of a sequence."),
    (read_fasta, b">a\nMKV\n>b\n>c\nMKV\n", 3, "Sequence 'b' is empty."),
    (read_fasta, b">\nMKV\n", 1, "A sequence has no name."),
]


@pytest.mark.parametrize(("read", "content", "line", "message"), DAMAGED)
def test_damage_is_told_with_its_line(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes, line: int, message: str
) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        list(read(path))
    assert message in error.value.message
    assert error.value.where == f"{path}:{line}"


@pytest.mark.parametrize("read", [read_json, read_jsonl, read_csv, read_fasta])
def test_a_file_that_is_not_there_or_a_folder_is_told(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    for path in (tmp_path / "nothing.json", tmp_path, tmp_path / "nothing.gz"):
        with pytest.raises(UsageError, match="cannot be read"):
            list(read(path))
