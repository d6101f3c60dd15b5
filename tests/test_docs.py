"""The generated pages are what the program says today; every command has a page with an example."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from trainworthy.cli.main import COMMANDS

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_fresh(generate: ModuleType) -> None:
    stale = [
        str(path) for path, text in generate.quick_pages().items() if not path.exists() or path.read_text() != text
    ]
    assert stale == [], "run: python docs/generate.py"


def test_every_command_has_a_page_with_help() -> None:
    for name in COMMANDS:
        page = (DOCS / "commands" / f"{name}.md").read_text()
        assert f"usage: trainworthy {name}" in page


def test_every_json_field_says_what_it_means(generate: ModuleType) -> None:
    for page in generate.json_pages().values():
        rows = [line for line in page.splitlines() if line.startswith("| `")]
        assert len(rows) >= 22
        assert all(not row.rstrip().endswith("|  |") for row in rows)
