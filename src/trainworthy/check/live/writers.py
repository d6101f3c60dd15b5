"""Which line of the user's code writes into an object."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from trainworthy.check.live.contents import face, ways_to

Line = tuple[str, int]


def writing_line(run: Callable[[], Any], dataset: Any, path: str, is_user: Callable[[CodeType], bool]) -> Line | None:
    """Run something and return the user's line during which a part of a data set was first changed; None without one.

    Python is asked to report every line, so this belongs into a process of its own.
    """
    watched = ways_to(dataset, path)
    return _Lines(watched, is_user).of(run) if watched else None


class _Lines:
    """Compares objects with what they were whenever another line begins."""

    def __init__(self, watched: list[Any], is_user: Callable[[CodeType], bool]) -> None:
        self._watched = watched
        self._before = self._faces()
        self._is_user = is_user
        self._at: Line | None = None  # the user's line under way
        self._found: Line | None = None

    def of(self, run: Callable[[], Any]) -> Line | None:
        sys.settrace(self._called)
        try:
            run()
        finally:
            sys.settrace(None)
        self._look()
        return self._found

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if self._is_user(frame.f_code) and self._line(frame, event, None) is not None else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self._look()
        if self._found is not None:
            return None
        here: FrameType | None = frame
        if event == "return":  # the line that called goes on
            here = frame.f_back
            while here is not None and not self._is_user(here.f_code):
                here = here.f_back
        self._at = (here.f_code.co_filename, here.f_lineno) if here is not None else None
        return self._line

    def _look(self) -> None:
        if self._found is None and self._at is not None and self._faces() != self._before:
            self._found = self._at

    def _faces(self) -> list[Any]:
        return [face(one) for one in self._watched]
