"""Which programs a script may start: those that only say something."""

from __future__ import annotations

import pytest

from trainworthy.virtual.effects_processes import _is_query


@pytest.mark.parametrize(
    "words",
    [
        ["git", "rev-parse", "HEAD"],
        ["git", "-C", "/x", "status"],
        ["uname", "-a"],
        ["/usr/bin/python3", "--version"],
        ["python", "-c", "import sys, json; print(json.dumps(sys.path))"],
        ["python3.11", "-c", "import platform\nprint(platform.python_version())"],
    ],
)
def test_questions(words: list[str]) -> None:
    assert _is_query(words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["rm", "-r", "x"],
        ["git", "push"],
        ["ls", ";", "rm"],
        ["python", "train.py"],
        ["python", "-m", "pip", "install", "x"],
        ["python", "-c", "import os; print(os.remove('x'))"],
        ["python", "-c", "import sys as os"],
        ["python", "-c", "import sys; print(sys.modules['os'].remove('x'))"],
        ["python", "-c", "import sys; print(open('x', 'w'))"],
        ["python", "-c", "print(__import__('os'))"],
        ["python", "-c", "print((lambda: 1)())"],
        ["python", "-c", "x = 1"],
        ["python", "-c", "import"],
    ],
)
def test_what_is_not_started(words: list[str]) -> None:
    assert not _is_query(words)
