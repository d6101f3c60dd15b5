"""The server: one thread reads, one answers; a document is checked when nothing newer of it is waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import IO, Any

from trainworthy.check.lsp.documents import Document
from trainworthy.check.lsp.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    NO_METHOD,
    PARSE_ERROR,
    BrokenMessageError,
    Message,
    failure,
    read_messages,
    write_message,
)
from trainworthy.check.rule import Rule, all_rules

_FULL_TEXT = 1
_WARNING = 2


def serve(stdin: IO[bytes], stdout: IO[bytes], page_of: Callable[[Rule], str]) -> int:
    """Answer until the editor says exit, or is gone; returns the exit code that the protocol asks for.

    ``page_of`` writes what is shown of a rule where the pointer rests on a finding.
    """
    messages: queue.Queue[Message | BrokenMessageError | None] = queue.Queue()

    def read() -> None:
        for message in read_messages(stdin):
            messages.put(message)
            if not isinstance(message, BrokenMessageError) and message.get("method") == "exit":
                return  # a thread that waits for more would hold the stream when Python ends
        messages.put(None)

    threading.Thread(target=read, daemon=True).start()
    server = Server(stdout, page_of)
    while True:
        message = messages.get()
        if message is None:
            return 1
        if not server.take(message):
            return 0 if server.is_shut_down else 1
        if messages.empty():
            server.check_changed()


class Server:
    """Holds the open documents and answers messages."""

    def __init__(self, stdout: IO[bytes], page_of: Callable[[Rule], str]) -> None:
        self.is_shut_down = False
        self._stdout = stdout
        self._page_of = page_of
        self._documents: dict[str, Document] = {}
        self._changed: dict[str, Document] = {}
        self._told: set[str] = set()

    def take(self, message: Message | BrokenMessageError) -> bool:
        """Answer one message; False if it was the last."""
        if isinstance(message, BrokenMessageError):
            self._send(failure(None, PARSE_ERROR, str(message)))
            return True
        method, number = message.get("method"), message.get("id")
        if method == "exit":
            return False
        if method is None:  # an answer; we ask for nothing
            return True
        params = message.get("params") or {}
        if number is None:
            self._notice(str(method), params)
        else:
            self._send(self._answer(str(method), number, params))
        return True

    def check_changed(self) -> None:
        """Check what changed and tell the editor what was found."""
        while self._changed:
            _, document = self._changed.popitem()
            document.check()
            self._publish(document, document.diagnostics())
            if document.problem is not None and document.problem not in self._told:
                self._told.add(document.problem)
                note = {"type": _WARNING, "message": f"trainworthy: {document.problem}"}
                self._send({"method": "window/showMessage", "params": note})

    # --- requests -------------------------------------------------------------------------------------------------

    def _answer(self, method: str, number: object, params: dict[str, Any]) -> Message:
        requests = {
            "initialize": self._initialize, "shutdown": self._shut_down, "textDocument/codeAction": self._actions,
            "textDocument/hover": self._hover,
        }  # fmt: skip
        request = requests.get(method)
        if self.is_shut_down:
            return failure(number, INVALID_REQUEST, f"{method} after shutdown")
        if request is None:
            return failure(number, NO_METHOD, f"{method} is not known")
        try:
            return {"id": number, "result": request(params)}
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            return failure(number, INTERNAL_ERROR, f"{method}: {type(error).__name__}: {error}")

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        from trainworthy import __version__

        return {
            "capabilities": {
                "positionEncoding": "utf-16",
                "textDocumentSync": {"openClose": True, "change": _FULL_TEXT, "save": {"includeText": True}},
                "codeActionProvider": {"codeActionKinds": ["quickfix", "source.fixAll"]},
                "hoverProvider": True,
            },
            "serverInfo": {"name": "trainworthy", "version": __version__},
        }

    def _shut_down(self, params: dict[str, Any]) -> None:
        self.is_shut_down = True

    def _actions(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        document = self._checked(params["textDocument"]["uri"])
        only = (params.get("context") or {}).get("only") or []
        return document.actions(params["range"], only) if document is not None else []

    def _hover(self, params: dict[str, Any]) -> dict[str, Any] | None:
        document = self._checked(params["textDocument"]["uri"])
        finding = document.finding_at(params["position"]) if document is not None else None
        if document is None or finding is None:
            return None
        page = {"kind": "markdown", "value": self._page_of(all_rules()[finding.code])}
        return {"contents": page, "range": document.range(finding.place)}

    def _checked(self, uri: str) -> Document | None:
        """Return an open document whose findings belong to its text."""
        if uri in self._changed:
            self.check_changed()
        return self._documents.get(uri)

    # --- notices --------------------------------------------------------------------------------------------------

    def _notice(self, method: str, params: dict[str, Any]) -> None:
        try:
            if method == "textDocument/didOpen":
                given = params["textDocument"]
                self._put(Document(str(given["uri"]), str(given["text"]), given.get("version")))
            elif method == "textDocument/didChange":
                given, changes = params["textDocument"], params["contentChanges"]
                if changes:
                    self._put(Document(str(given["uri"]), str(changes[-1]["text"]), given.get("version")))
            elif method == "textDocument/didSave":
                document = self._documents.get(params["textDocument"]["uri"])
                if document is not None:
                    text = params.get("text")
                    self._put(Document(document.uri, document.text if text is None else text, document.version))
            elif method == "textDocument/didClose":
                document = self._documents.pop(params["textDocument"]["uri"], None)
                if document is not None:
                    self._changed.pop(document.uri, None)
                    self._publish(document, [])
        except (KeyError, TypeError, AttributeError, IndexError):
            return  # a notice has no answer, so there is nobody to tell

    def _put(self, document: Document) -> None:
        self._documents[document.uri] = self._changed[document.uri] = document

    def _publish(self, document: Document, diagnostics: list[dict[str, Any]]) -> None:
        params: dict[str, Any] = {"uri": document.uri, "diagnostics": diagnostics}
        if document.version is not None:
            params["version"] = document.version
        self._send({"method": "textDocument/publishDiagnostics", "params": params})

    def _send(self, message: Message) -> None:
        write_message(self._stdout, message)
