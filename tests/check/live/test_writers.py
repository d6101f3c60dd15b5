"""The line that changed an object, by its own bytes before and after each line."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from trainworthy.check.live.writers import writing_line


class Box:
    def __init__(self, value: Any) -> None:
        self.value = value


def fill(rows: Any) -> None:
    rows[0] += 1


def here(code: Any) -> bool:
    return bool(code.co_filename == __file__)


@pytest.mark.parametrize(
    ("value", "path"),
    [(np.zeros(3), ".value"), ([0, 1], ".value[0]"), ({"a": [0]}, ".value.a[0]"), ([[5]], ".value[0][0]")],
)
def test_names_the_line_in_a_helper(value: Any, path: str) -> None:
    box = Box(value)
    inner = value["a"] if isinstance(value, dict) else value[0] if isinstance(value[0], list) else value
    found = writing_line(lambda: fill(inner), box, path, here)
    assert found == (__file__, fill.__code__.co_firstlineno + 1)


def test_what_a_library_changes_is_the_line_that_called_it() -> None:
    box = Box(np.array([3, 1, 2]))

    def run() -> None:
        total = 0
        box.value.sort()
        total += 1

    found = writing_line(run, box, ".value", here)
    assert found == (__file__, run.__code__.co_firstlineno + 2)


def test_nothing_changed_or_no_such_part() -> None:
    box = Box([1, 2])
    assert writing_line(box.value.copy, box, ".value[0]", here) is None
    assert writing_line(lambda: box.value.append(3), box, ".other", here) is None
    assert sys.gettrace() is None
