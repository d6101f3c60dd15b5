"""Names and what they are bound to."""

from __future__ import annotations

from trainworthy.check.static.values import Value, join


class Scope:
    """The names of a function, class body or module, and the scope around it."""

    __slots__ = ("globals", "names", "parent")

    def __init__(self, parent: Scope | None = None, names: dict[str, Value] | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Value] = {} if names is None else names
        self.globals: dict[str, Scope] = {}

    def get(self, name: str) -> Value | None:
        """Look a name up, outwards."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def replace(self, name: str, value: Value) -> None:
        """Put a value in place of the one that ``get`` found."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                scope.names[name] = value
                return
            scope = scope.parent

    def set(self, name: str, value: Value) -> None:
        """Bind a name; one declared global or nonlocal is bound there, and may still be what it was."""
        home = self.globals.get(name)
        if home is None:
            self.names[name] = value
        else:
            old = home.names.get(name)
            home.names[name] = value if old is None else join(old, value)

    def declare_global(self, name: str) -> None:
        """Note ``global name``."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        if scope is not self:
            self.globals[name] = scope

    def declare_nonlocal(self, name: str) -> None:
        """Note ``nonlocal name``."""
        scope = self.parent
        while scope is not None and name not in scope.names:
            scope = scope.parent
        if scope is not None:
            self.globals[name] = scope


def join_names(a: dict[str, Value], b: dict[str, Value]) -> dict[str, Value]:
    """Join two branches; a name that one of them does not bind keeps what the other says."""
    joined = dict(a)
    for name, value in b.items():
        old = a.get(name)
        if old is not value:
            joined[name] = value if old is None else join(old, value)
    return joined
