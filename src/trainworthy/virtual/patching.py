"""Set attributes for the time of a rehearsal and put them back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


class Patches:
    """A list of attribute changes, applied together and undone in reverse."""

    def __init__(self) -> None:
        self._changes: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Plan to set ``owner.name``."""
        self._changes.append((owner, name, value))

    def set_all(self, owner: Any, **values: Any) -> None:
        """Plan to set several attributes of one owner."""
        for name, value in values.items():
            self.set(owner, name, value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the changes; undo them on exit."""
        saved: list[tuple[Any, str, Any]] = []
        try:
            for owner, name, value in self._changes:
                saved.append((owner, name, vars(owner).get(name, _ABSENT)))
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in reversed(saved):
                if value is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, value)
