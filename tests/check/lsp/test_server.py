"""A real process that speaks the protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainworthy.check.lsp.wire import read_messages, write_message

TEXT = """\
import torch
import torch.nn.functional as F

name = "größer 🙂"; out = torch.softmax(torch.rand(8, 10), dim=1)
emoji = "🙂🙂"; loss = F.cross_entropy(out, torch.zeros(8).long())
for p in torch.nn.Linear(1, 1).parameters():
    p.require_grad = False
"""


class Editor:
    """The other side of the protocol."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainworthy", "check", "--lsp"], cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._messages = self.process.stdin, read_messages(self.process.stdout)
        self._number = 0

    def tell(self, method: str, **params: Any) -> None:
        write_message(self._in, {"method": method, "params": params})

    def ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        write_message(self._in, {"id": self._number, "method": method, "params": params})
        while True:
            answer = self.next()
            if answer.get("id") == self._number:
                return answer

    def raw(self, data: bytes) -> None:
        self._in.write(data)
        self._in.flush()

    def next(self) -> dict[str, Any]:
        message = next(self._messages)
        assert isinstance(message, dict)
        return message

    def diagnostics(self) -> list[dict[str, Any]]:
        while True:
            message = self.next()
            if message.get("method") == "textDocument/publishDiagnostics":
                return list(message["params"]["diagnostics"])

    def open(self, path: Path, text: str) -> list[dict[str, Any]]:
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)
        return self.diagnostics()


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    yield from running(tmp_path_factory.mktemp("editor"))


@pytest.fixture
def own_editor(tmp_path: Path) -> Iterator[Editor]:
    yield from running(tmp_path)


def running(folder: Path) -> Iterator[Editor]:
    """Start a server, and end it."""
    editor = Editor(folder)
    editor.ask("initialize", processId=None, rootUri=folder.as_uri(), capabilities={})
    editor.tell("initialized")
    yield editor
    for stream in (editor.process.stdin, editor.process.stdout, editor.process.stderr):
        assert stream is not None
        stream.close()
    editor.process.kill()
    editor.process.wait()


def test_findings_come_and_go(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "my train.py"
    found = editor.open(path, TEXT)
    assert [(one["code"], one["severity"], one["range"]["start"]["line"]) for one in found] == [
        ("TW201", 1, 4),
        ("TW314", 1, 6),
    ]
    # Columns are UTF-16 units: each of the two faces counts twice.
    line = TEXT.split("\n")[4]
    start = line.index("F.cross")
    assert found[0]["range"]["start"]["character"] == start + 2
    assert found[0]["relatedInformation"][0]["location"]["range"]["start"]["line"] == 3
    fixed = TEXT.replace("torch.softmax(torch.rand(8, 10), dim=1)", "torch.rand(8, 10)").replace(
        "require_g", "requires_g"
    )
    change = {"uri": path.as_uri(), "version": 2}
    editor.tell("textDocument/didChange", textDocument=change, contentChanges=[{"text": fixed}])
    assert editor.diagnostics() == []
    editor.tell("textDocument/didSave", textDocument={"uri": path.as_uri()}, text=TEXT)
    assert len(editor.diagnostics()) == 2
    editor.tell("textDocument/didClose", textDocument={"uri": path.as_uri()})
    assert editor.diagnostics() == []


def applied(text: str, edits: list[dict[str, Any]]) -> str:
    """Apply edits as an editor does, last first."""
    lines = text.split("\n")
    for edit in sorted(
        edits, key=lambda e: (e["range"]["start"]["line"], e["range"]["start"]["character"]), reverse=True
    ):
        start, end = edit["range"]["start"], edit["range"]["end"]
        first, last = (lines[p["line"]].encode("utf-16-le") for p in (start, end))
        whole = first[: 2 * start["character"]].decode("utf-16-le") + edit["newText"]
        whole += last[2 * end["character"] :].decode("utf-16-le")
        lines[start["line"] : end["line"] + 1] = whole.split("\n")
    return "\n".join(lines)


def test_actions_mend_and_silence(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    found = editor.open(path, TEXT)
    document = {"uri": path.as_uri()}
    answer = editor.ask("textDocument/codeAction", textDocument=document, range=found[1]["range"], context={})
    titles = [action["title"] for action in answer["result"]]
    assert titles[0].startswith("TW314")
    assert titles[1:] == ["TW314: silence this line", "trainworthy: mend all that is safe"]
    mended = applied(TEXT, answer["result"][0]["edit"]["changes"][path.as_uri()])
    assert "    p.requires_grad = False" in mended
    silenced = applied(TEXT, answer["result"][1]["edit"]["changes"][path.as_uri()])
    assert [one["code"] for one in editor.open(path, silenced)] == ["TW201"]
    only = {"only": ["source.fixAll"]}
    answer = editor.ask("textDocument/codeAction", textDocument=document, range=found[1]["range"], context=only)
    assert [action["kind"] for action in answer["result"]] == []  # the silenced line has nothing left to mend


def test_hover_shows_the_page(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    found = editor.open(path, TEXT)
    where = {"textDocument": {"uri": path.as_uri()}, "position": found[0]["range"]["start"]}
    assert "TW201" in editor.ask("textDocument/hover", **where)["result"]["contents"]["value"]
    where["position"] = {"line": 0, "character": 0}
    assert editor.ask("textDocument/hover", **where)["result"] is None


def test_settings_of_the_project_count(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.trainworthy.check]\nignore = ["TW2"]\n')
    assert [one["code"] for one in editor.open(tmp_path / "train.py", TEXT)] == ["TW314"]
    (tmp_path / "pyproject.toml").write_text('[tool.trainworthy.check]\nselekt = ["TW2"]\n')
    assert len(editor.open(tmp_path / "train.py", TEXT)) == 2
    assert "selekt" in editor.next()["params"]["message"]


def test_a_syntax_error_is_a_finding(editor: Editor, tmp_path: Path) -> None:
    assert [one["code"] for one in editor.open(tmp_path / "x.py", "import torch\nx = (\n")] == ["TW901"]
    assert editor.open(Path("/nowhere/at/all.py"), "") == []


def test_what_is_no_message_is_answered(editor: Editor, tmp_path: Path) -> None:
    assert editor.ask("textDocument/rename")["error"]["code"] == -32601
    assert editor.ask("textDocument/hover", textDocument=3)["error"]["code"] == -32603
    editor.raw(b"Content-Length: 3\r\n\r\n{{{")
    assert editor.next()["error"]["code"] == -32700
    editor.raw(b"Content-Length: 2\r\n\r\n[]")
    assert editor.next()["error"]["code"] == -32700
    editor.raw(b"Content-Length: -7\r\nX: 1\r\n\r\n")
    assert editor.next()["error"]["code"] == -32700
    editor.tell("textDocument/didOpen", textDocument={})
    editor.tell("$/setTrace", value="off")
    assert len(editor.open(tmp_path / "train.py", TEXT)) == 2


def test_it_leaves_as_the_protocol_says(own_editor: Editor) -> None:
    assert own_editor.ask("shutdown")["result"] is None
    assert own_editor.ask("textDocument/hover")["error"]["code"] == -32600
    own_editor.tell("exit")
    assert own_editor.process.wait(10) == 0


def test_it_leaves_when_the_editor_is_gone(own_editor: Editor) -> None:
    assert own_editor.process.stdin is not None
    own_editor.process.stdin.close()
    assert own_editor.process.wait(10) == 1


def test_capabilities_are_json(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    result = editor.ask("initialize", capabilities={})["result"]
    editor.tell("exit")
    assert editor.process.wait(10) == 1
    assert json.dumps(result["capabilities"])
    assert result["serverInfo"]["name"] == "trainworthy"
    for stream in (editor.process.stdin, editor.process.stdout, editor.process.stderr):
        assert stream is not None
        stream.close()
