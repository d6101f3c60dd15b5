"""Shapes of what modules get and give: held against annotations, and kept so that annotations can be suggested."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainworthy.formulas.shape_names import misfit
from trainworthy.virtual.annotations import RETURN, Annotation, annotations_of

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_MAX_CALLS = 64  # of one class, whose shapes are kept
_MAX_CONTRADICTIONS = 64


class CallNotes:
    """Looks at calls of the user's own modules."""

    def __init__(self, gpu: VirtualGpu, *, keep_shapes: bool) -> None:
        self._recorder = gpu.recorder
        self._keeps = keep_shapes
        self._annotated: dict[type, dict[str, Annotation]] = {}
        self._signatures: dict[type, inspect.Signature | None] = {}
        self._calls: dict[type, list[dict[str, Any]]] = {}
        self._said: set[tuple[type, str]] = set()
        self.contradictions: list[dict[str, Any]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Look while the context is open."""
        on_call = self._recorder.modules.on_call
        on_call.append(self._called)
        try:
            yield
        finally:
            on_call.remove(self._called)

    def shapes(self) -> list[dict[str, Any]]:
        """Return, by class, where its forward stands and the shapes of each of its calls."""
        noted = []
        for cls, calls in self._calls.items():
            forward: Any = cls.forward  # type: ignore[attr-defined]
            code = getattr(inspect.unwrap(forward), "__code__", None)
            if code is not None:
                path = self._recorder.finder.relative(code.co_filename)
                noted.append({"class": cls.__name__, "path": path, "line": code.co_firstlineno, "calls": calls})
        return noted

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        cls = type(module)
        signature = self._signature(cls)
        if signature is None:
            return
        annotated = self._annotated[cls]
        if not annotated and not self._keeps:
            return
        try:
            values = signature.bind(module, *args, **kwargs).arguments
        except TypeError:  # hooks may change what is passed
            return
        values = dict(list(values.items())[1:])
        values[RETURN] = out
        if annotated:
            self._compare(cls, annotated, values)
        if self._keeps:
            self._keep(cls, values)

    def _signature(self, cls: type) -> inspect.Signature | None:
        """Return the signature of the forward method of a class of the user's."""
        if cls not in self._signatures:
            forward: Any = cls.forward  # type: ignore[attr-defined]
            code = getattr(inspect.unwrap(forward), "__code__", None)
            is_own = code is not None and self._recorder.finder.is_user(code)
            self._signatures[cls] = inspect.signature(forward) if is_own else None
            self._annotated[cls] = annotations_of(forward) if is_own else {}
        return self._signatures[cls]

    def _compare(self, cls: type, annotated: dict[str, Annotation], values: dict[str, Any]) -> None:
        bound: dict[str, int] = {}
        given: dict[str, str] = {}
        for name, annotation in annotated.items():
            value = values.get(name)
            if not isinstance(value, torch.Tensor):
                continue
            shape = tuple(int(size) for size in value.shape)
            before = set(bound)
            wrong = misfit(annotation.names, shape, bound)
            given.update(dict.fromkeys(set(bound) - before, name))
            reason = _words(wrong, given) if wrong is not None else _dtype_fault(annotation.kind, value)
            if reason is not None and (cls, name) not in self._said and len(self.contradictions) < _MAX_CONTRADICTIONS:
                self._said.add((cls, name))
                self._say(cls, name, annotation, shape, reason)

    def _say(self, cls: type, name: str, annotation: Annotation, shape: tuple[int, ...], reason: str) -> None:
        code: Any = inspect.unwrap(cls.forward).__code__  # type: ignore[attr-defined]
        self.contradictions.append({
            "path": self._recorder.finder.relative(code.co_filename), "line": annotation.line, "class": cls.__name__,
            "name": name, "annotation": f'{annotation.kind}[..., "{annotation.names}"]', "shape": list(shape),
            "reason": reason,
        })  # fmt: skip

    def _keep(self, cls: type, values: dict[str, Any]) -> None:
        calls = self._calls.setdefault(cls, [])
        if len(calls) < _MAX_CALLS:
            shapes = {name: [_kind(v), list(v.shape)] for name, v in values.items() if isinstance(v, torch.Tensor)}
            calls.append(shapes)


def _words(wrong: Any, given: dict[str, str]) -> str:
    if wrong.dimension is None:
        return f"it has {wrong.found} dimensions, not {wrong.expected}"
    if wrong.text.isdecimal():
        return f"dimension {wrong.dimension} is {wrong.found}"
    first = given.get(wrong.text)
    where = f" in {first}" if first is not None else ""
    return f"{wrong.text} is {wrong.expected}{where} and {wrong.found} here"


def _dtype_fault(kind: str, tensor: torch.Tensor) -> str | None:
    """Say if a dtype is of another family than the annotation's."""
    dtype = tensor.dtype
    is_integer = not (dtype.is_floating_point or dtype.is_complex or dtype is torch.bool)
    fits = {
        "Float": dtype.is_floating_point, "Int": is_integer, "Integer": is_integer, "UInt": is_integer,
        "Bool": dtype is torch.bool, "Complex": dtype.is_complex, "Inexact": not is_integer and dtype is not torch.bool,
    }.get(kind, True)  # fmt: skip
    return None if fits else f"its dtype is {str(dtype).removeprefix('torch.')}"


def _kind(tensor: torch.Tensor) -> str:
    dtype = tensor.dtype
    if dtype is torch.bool:
        return "Bool"
    return "Float" if dtype.is_floating_point else "Complex" if dtype.is_complex else "Int"
