"""Attributes of modules that a stranger overwrites.

A framework that numbers all modules of a model (``module.id = count``) writes on classes that know nothing of it; where
a class has an attribute of that name, for its own use, it is lost. So it looks: one line sets one name on modules of
several classes, most of which had no such attribute, and one of which had it with another value.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import NotFrozen, Overwritten
from trainworthy.check.live.watch import Watch

_PLAIN = (int, str, float)
_MAX_FROZEN = 64


@dataclass(slots=True)
class _Writes:
    """What one line wrote under one name."""

    source: int
    new: int = 0
    classes: set[type] = field(default_factory=set)
    lost: dict[type, list[tuple[Any, Any]]] = field(default_factory=dict)


@dataclass(slots=True)
class _Frozen:
    """A module that got ``requires_grad = False``, and what last was true of it: it may be gone when the look ends."""

    module: weakref.ref[nn.Module]
    place: Place
    fact: NotFrozen | None = None


class AttributeWatch:
    """Sees every attribute that is set on a module, by whom; and ``requires_grad``, which means nothing to one."""

    compiled_code_sees_it = True

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._writes: dict[tuple[CodeType, int, str], _Writes] = {}
        self._frozen: list[_Frozen] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace ``nn.Module.__setattr__`` while the context is open."""
        set_attribute = nn.Module.__setattr__

        def watched(module: nn.Module, name: str, value: Any) -> None:
            if name == "requires_grad" and value is False and self.watch.looking:
                self.watch.attempt("attributes", self._frozen_by_name, module)
            elif type(value) in _PLAIN and name != "training" and self.watch.looking and not self.watch.step:
                frame = sys._getframe(1)
                if frame.f_code.co_argcount == 0 or frame.f_locals.get(frame.f_code.co_varnames[0]) is not module:
                    line = (frame.f_code, frame.f_lineno, name)
                    self.watch.attempt("attributes", self._written, module, name, value, line, frame)
            set_attribute(module, name, value)

        nn.Module.__setattr__ = watched  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            nn.Module.__setattr__ = set_attribute  # type: ignore[method-assign]

    def _frozen_by_name(self, module: nn.Module) -> None:
        if not hasattr(type(module), "requires_grad") and len(self._frozen) < _MAX_FROZEN:
            self._frozen.append(_Frozen(weakref.ref(module), self.watch.place()))

    def _written(
        self, module: nn.Module, name: str, value: Any, line: tuple[CodeType, int, str], frame: FrameType
    ) -> None:
        writes = self._writes.get(line)
        if writes is None:
            writes = self._writes[line] = _Writes(self.watch.finder.find(frame)[0])
        before = module.__dict__.get(name, module)
        if before is module:
            writes.new += not hasattr(type(module), name)
            writes.classes.add(type(module))
        elif type(before) in _PLAIN and before != value:
            writes.lost.setdefault(type(module), []).append((before, value))

    def step_ends(self) -> None:
        """Look again at the modules that a name was to freeze."""
        for frozen in self._frozen:
            module = frozen.module()
            if module is None:
                continue
            training = sum(p.requires_grad for p in module.parameters())
            frozen.fact = None
            if training and getattr(module, "requires_grad", None) is False:
                frozen.fact = NotFrozen(
                    place=frozen.place,
                    module=self.watch.names.module(module),
                    class_name=type(module).__name__,
                    parameters=training,
                )

    def finish(self) -> None:
        """Write down the lines that wrote on many and overwrote on some, and what a name did not freeze."""
        self.step_ends()
        self.watch.facts.not_frozen += [one.fact for one in self._frozen if one.fact is not None]
        for (_, _, name), writes in self._writes.items():
            for kind, lost in writes.lost.items():
                if kind in writes.classes or len(writes.classes) < 2 or not _reads(kind, name):
                    continue
                before, after = lost[0]
                self.watch.facts.overwritten.append(Overwritten(
                    place=self.watch.place_of(writes.source), attribute=name, class_name=kind.__name__,
                    before=repr(before), after=repr(after), times=len(lost), others=writes.new,
                    defined_at=self.watch.defined_at(inspect.getattr_static(kind, "__init__")),
                ))  # fmt: skip
        self._writes.clear()


def _reads(kind: type, name: str) -> bool:
    """Tell whether a class's own methods speak of an attribute."""
    methods = [m for m in vars(kind).values() if inspect.isfunction(m)]
    return any(name in method.__code__.co_names for method in methods)
