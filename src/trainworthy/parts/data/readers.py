"""Readers of JSON, JSON lines, CSV and FASTA whose errors name file and line; files ending in ``.gz`` are unpacked.

They are lazy: a line is read when it is asked for. ``list(...)`` reads, and so checks, the whole file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

from trainworthy.errors import UsageError

_SEQUENCE_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*-.")


class FastaRecord(NamedTuple):
    """One sequence.

    Attributes:
        name: The first word after ``>``.
        description: The rest of that line.
        sequence: The letters, without white space.
        line: The line of the ``>``, counted from 1.
    """

    name: str
    description: str
    sequence: str
    line: int


def read_json(path: str | Path) -> Any:
    """Read one JSON value.

    Raises:
        UsageError: If the file cannot be read or is not JSON, with the line.

    >>> import tempfile, pathlib
    >>> from trainworthy.errors import UsageError
    >>> path = pathlib.Path(tempfile.mkdtemp(), "data.json")
    >>> _ = path.write_text("[1, 2")
    >>> try:
    ...     read_json(path)
    ... except UsageError as error:
    ...     print(error.message, error.where.endswith("data.json:1"))
    Not JSON: Expecting ',' delimiter at column 6. True
    """
    with _opened(path) as file:
        return _json(file.read(), path=path, first_line=1)


def read_jsonl(path: str | Path, *, required: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    r"""Read one JSON object a line; empty lines are skipped.

    Args:
        path: The file.
        required: Keys that every object must have.

    Raises:
        UsageError: If a line is no JSON object or a key is missing, with the line.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.jsonl")
    >>> _ = path.write_text('{"text": "a"}\n{"text": "b"}\n')
    >>> [row["text"] for row in read_jsonl(path, required=["text"])]
    ['a', 'b']
    """
    required = tuple(required)
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            value = _json(line, path=path, first_line=number)
            if not isinstance(value, dict):
                raise UsageError(
                    f"A JSON object was expected, this is a {type(value).__name__}.", where=f"{path}:{number}"
                )
            missing = [key for key in required if key not in value]
            if missing:
                raise UsageError(
                    f"Key {missing[0]!r} is missing; there are: {_names(value)}.", where=f"{path}:{number}"
                )
            yield value


def read_csv(
    path: str | Path, *, types: Mapping[str, Callable[[str], Any]] | None = None, delimiter: str = ","
) -> Iterator[dict[str, Any]]:
    r"""Read rows as dictionaries by the names in the first line.

    Args:
        path: The file.
        types: For some columns what makes a value of the text, such as ``float``; the others stay text.
        delimiter: Between the cells.

    Raises:
        UsageError: If a row has too many or too few cells, a value does not convert, a name is there twice or a column
            of ``types`` is not there, with the line.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.csv")
    >>> _ = path.write_text("name,size\na,1.5\n")
    >>> list(read_csv(path, types={"size": float}))
    [{'name': 'a', 'size': 1.5}]
    """
    with _opened(path, newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        names = _next_row(rows, path) or []
        _check_header(names, types or {}, where=f"{path}:1")
        while True:
            line = rows.line_num + 1
            cells = _next_row(rows, path)
            if cells is None:
                return
            if not cells:
                continue
            where = f"{path}:{line}"
            if len(cells) != len(names):
                raise UsageError(f"{len(cells)} cells, but the first line names {len(names)} columns.", where=where)
            row: dict[str, Any] = dict(zip(names, cells, strict=True))
            for name, convert in (types or {}).items():
                row[name] = _converted(row[name], name, convert, where)
            yield row


def read_fasta(path: str | Path) -> Iterator[FastaRecord]:
    r"""Read sequences; a sequence may go over several lines, lines that begin with ``;`` are comments.

    Raises:
        UsageError: If there are letters before the first ``>``, a name or a sequence is empty, or a character does not
            belong to a sequence, with the line.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.fasta")
    >>> _ = path.write_text(">p1 a kinase\nMKV\nLLA\n")
    >>> list(read_fasta(path))
    [FastaRecord(name='p1', description='a kinase', sequence='MKVLLA', line=1)]
    """
    head, start, lines = "", 0, list[str]()
    with _opened(path) as file:
        for number, raw in enumerate(file, start=1):
            line = "".join(raw.split()) if not raw.startswith(">") else raw.strip()
            if not line or line.startswith(";"):
                continue
            if line.startswith(">"):
                if start:
                    yield _record(head, start, lines, path)
                head, start, lines = line[1:].strip(), number, []
                continue
            strange = next((letter for letter in line if letter not in _SEQUENCE_LETTERS), None)
            if not start or strange is not None:
                message = "Letters before the first '>'." if not start else f"{strange!r} is no letter of a sequence."
                raise UsageError(message, where=f"{path}:{number}")
            lines.append(line)
    if start:
        yield _record(head, start, lines, path)


@contextmanager
def _opened(path: str | Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open as UTF-8, unpacked; an error of the system or of the encoding becomes a UsageError."""
    try:
        with _raw(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError as error:
        line = _line_that_is_not_utf8(path)
        raise UsageError(
            f"Not UTF-8: byte 0x{error.object[error.start]:02x}.", where=f"{path}:{line}", fix="Save the file as UTF-8."
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"Not a whole gzip file: {error}.", where=str(path)) from None
    except OSError as error:
        raise UsageError(f"The file cannot be read: {error.strerror or error}.", where=str(path)) from None


def _raw(path: str | Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if str(path).endswith(".gz") else Path(path).open("rb")


def _line_that_is_not_utf8(path: str | Path) -> int:
    with _raw(path) as raw:
        for number, line in enumerate(raw, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _json(text: str, *, path: str | Path, first_line: int) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            double = next(key for key in keys if keys.count(key) > 1)
            raise UsageError(f"Key {double!r} is there twice in one object.", where=f"{path}:{first_line}")
        return values

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        where = f"{path}:{first_line + error.lineno - 1}"
        raise UsageError(f"Not JSON: {error.msg} at column {error.colno}.", where=where) from None


def _next_row(rows: Any, path: str | Path) -> list[str] | None:
    try:
        row: list[str] | None = next(rows, None)
    except csv.Error as error:
        raise UsageError(f"Not CSV: {error}.", where=f"{path}:{rows.line_num}") from None
    return row


def _check_header(names: list[str], types: Mapping[str, Any], *, where: str) -> None:
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None or not names:
        raise UsageError("There are no names." if not names else f"Column {double!r} is there twice.", where=where)
    missing = next((name for name in types if name not in names), None)
    if missing is not None:
        raise UsageError(f"There is no column {missing!r}; there are: {_names(names)}.", where=where)


def _converted(text: str, name: str, convert: Callable[[str], Any], where: str) -> Any:
    try:
        return convert(text)
    except (ValueError, TypeError, KeyError):
        kind = getattr(convert, "__name__", "value of that column")
        raise UsageError(f"Column {name!r}: {text!r} is no {kind}.", where=where) from None


def _record(head: str, line: int, lines: list[str], path: str | Path) -> FastaRecord:
    name, _, description = head.partition(" ")
    if not name or not lines:
        what = "A sequence has no name." if not name else f"Sequence {name!r} is empty."
        raise UsageError(what, where=f"{path}:{line}")
    return FastaRecord(name, description.strip(), "".join(lines), line)


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
