"""``super(Base, self).__init__()`` in a class below ``Base``: the constructor of ``Base`` does not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.tree import nodes_of
from trainworthy.check.static.values import Function, ProjectClass


class PassedOver(NamedTuple):
    """Such a call.

    Attributes:
        call: The call of ``__init__``.
        base: The class that it names.
        constructor: Its constructor, if it has one of its own.
        unset: Attributes that constructors passed over set, nothing else sets, and the class reads.
    """

    call: ast.Call
    base: ProjectClass
    constructor: Function | None
    unset: tuple[str, ...]


def passed_over(cls: ProjectClass, init: Function) -> Iterator[PassedOver]:
    """Yield the call in a constructor that goes past a base, so that something is not set.

    With several bases, one call may run the constructor of the first, and another go past it to that of the second:
    then nothing is said.
    """
    bases = {base.node.name: i for i, base in enumerate(cls.order()) if i}
    calls = [one for one in nodes_of(init.node, ast.Call) if last_name(one.func) == "__init__"]
    for call in calls if len(calls) == 1 else ():
        name = _named(call)
        if name in bases and name != cls.node.name:
            base = cls.order()[bases[name]]
            unset = _unset(cls, cls.order()[1 : bases[name] + 1])
            constructor = base.members.get("__init__")
            if unset:
                yield PassedOver(call, base, constructor if isinstance(constructor, Function) else None, unset)


def _named(call: ast.Call) -> str:
    """Return the class that ``super(Class, self).__init__(...)`` names; "" for any other call."""
    above = call.func.value if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__" else None
    is_super = isinstance(above, ast.Call) and last_name(above.func) == "super" and len(above.args) == 2
    return last_name(above.args[0]) if isinstance(above, ast.Call) and is_super else ""


def _unset(cls: ProjectClass, passed: tuple[ProjectClass, ...]) -> tuple[str, ...]:
    if not all(_sets_by_name(one) for one in cls.order()):
        return ()
    by_passed: set[str] = set()
    by_others: set[str] = set()
    for one in cls.order():
        for name, member in one.members.items():
            if isinstance(member, Function):
                skipped = name == "__init__" and one in passed
                (by_passed if skipped else by_others).update(_of_self(member.node, ast.Store))
    return tuple(sorted((by_passed - by_others) & _read_by(cls)))


def _read_by(cls: ProjectClass) -> set[str]:
    """Return the attributes that the class's own methods and its forward pass read, by way of inherited ones, too."""
    read: set[str] = set()
    left = [*cls.members, "forward"]
    seen: set[str] = set()
    while left:
        name = left.pop()
        member = cls.lookup(name) if name not in seen else None
        seen.add(name)
        if isinstance(member, Function):
            found = _of_self(member.node, ast.Load)
            read |= found
            left += found
    return read


def _of_self(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {
        one.attr for one in nodes_of(node, ast.Attribute)
        if isinstance(one.ctx, context) and isinstance(one.value, ast.Name) and one.value.id == "self"
    }  # fmt: skip


def _sets_by_name(cls: ProjectClass) -> bool:
    """Say whether a class sets attributes in plain sight, and finds none by other means."""
    names = {last_name(call.func) for call in nodes_of(cls.node, ast.Call)}
    plain = not names & {"setattr", "update", "exec", "register_buffer", "register_parameter", "add_module"}
    return plain and not cls.members.keys() & {"__getattr__", "__getattribute__", "__setattr__"}
