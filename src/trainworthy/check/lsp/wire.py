"""Messages of the language server protocol: a header with the length, then JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

Message = dict[str, Any]
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INTERNAL_ERROR = -32700, -32600, -32601, -32603
_MOST_BYTES = 64 * 2**20


class BrokenMessageError(Exception):
    """What came is no message; the next one may be."""


def read_messages(stream: IO[bytes]) -> Iterator[Message | BrokenMessageError]:
    """Yield messages until the stream ends; what cannot be read comes as an error instead."""
    while True:
        length = _length(stream)
        if length is None:
            return
        if not 0 <= length <= _MOST_BYTES:
            yield BrokenMessageError(f"Content-Length is {length}")
            continue
        body = stream.read(length)
        if len(body) < length:
            return
        try:
            message = json.loads(body)
        except ValueError as error:
            yield BrokenMessageError(f"not JSON: {error}")
            continue
        yield message if isinstance(message, dict) else BrokenMessageError("not an object")


def _length(stream: IO[bytes]) -> int | None:
    """Read a header; None at the end of the stream, -1 if it gives no length."""
    length, any_line = -1, False
    while line := stream.readline(4096):
        text = line.strip()
        if not text:
            if any_line:
                return length
            continue
        any_line = True
        name, _, value = text.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    return None


def write_message(stream: IO[bytes], message: Message) -> None:
    """Write one message."""
    body = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode("utf-8")
    stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    stream.flush()


def failure(number: object, code: int, text: str) -> Message:
    """Return the answer to a request that failed."""
    return {"id": number, "error": {"code": code, "message": text}}
