"""Which module of the user's model is running, and what it is called."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from trainworthy.tape.record import ModuleInfo

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_DETAILS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "ceil_mode")
_BUILTIN = ("in_features", "out_features", "in_channels", "out_channels", "groups",
            "num_embeddings", "embedding_dim", "hidden_size", "num_layers", "p", "eps")  # fmt: skip

Listener = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]


def split_template(path: str) -> tuple[str, tuple[int, ...]]:
    """Split ``h.3.attn`` into ``h.{}.attn`` and ``(3,)``."""
    numbers = tuple(int(n) for n in _NUMBER.findall(path))
    escaped = path.replace("{", "(").replace("}", ")")
    return (_NUMBER.sub("{}", escaped), numbers) if numbers else (escaped, ())


class ModuleTracker:
    """Follows calls of modules; names them as ``named_modules`` of their outermost owner does."""

    def __init__(self) -> None:
        self.stack: list[int] = []
        self.paths: list[tuple[int, str]] = [(-1, "")]  # (root, path) by number
        self.roots: list[str] = []
        self.on_root_enter: list[Listener] = []
        self.on_root_exit: list[Listener] = []
        self.on_call: list[Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]] = []  # with the result
        self.exited_root = False
        self._numbers: dict[int, int] = {}
        self._known: dict[int, weakref.ref[nn.Module]] = {}
        self._root_modules: list[weakref.ref[nn.Module]] = []
        self._output_shapes: dict[int, tuple[int, ...]] = {}
        self._notes: dict[int, tuple[Any, ...]] = {}
        self._ids: dict[tuple[int, str], int] = {}

    @property
    def current(self) -> int:
        """Number of the innermost running module; 0 outside of all modules."""
        return self.stack[-1] if self.stack else 0

    @contextmanager
    def installed(self) -> Iterator[ModuleTracker]:
        """Follow module calls while the context is open."""
        call = nn.Module.__call__
        tracker = self

        def tracked(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return tracker._call(call, module, args, kwargs)

        nn.Module.__call__ = tracked  # type: ignore[method-assign]
        try:
            yield self
        finally:
            nn.Module.__call__ = call  # type: ignore[method-assign]

    def _call(
        self,
        call: Callable[..., Any],
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        number = self._number(module)
        outermost = not self.stack
        if outermost:
            for listener in self.on_root_enter:
                listener(module, args, kwargs)
        self.stack.append(number)
        try:
            out = call(module, *args, **kwargs)
        finally:
            self.stack.pop()
            if outermost:
                for listener in self.on_root_exit:
                    listener(module, args, kwargs)
        for noted in self.on_call:
            noted(module, args, kwargs, out)
        if number not in self._output_shapes:
            shape = _first_shape(out)
            if shape is not None:
                self._output_shapes[number] = shape
        return out

    def _number(self, module: nn.Module) -> int:
        ref = self._known.get(id(module))
        if ref is None or ref() is not module:
            self._name(module)
        return self._numbers[id(module)]

    def _name(self, module: nn.Module) -> None:
        """Name ``module`` and all below its outermost owner."""
        owner = self._owner(module)
        root = len(self.roots)
        for i, known in enumerate(self._root_modules):
            alive = known()
            # A loss made anew in every step is the same root each time.
            if alive is owner or (alive is None and self.roots[i] == type(owner).__name__):
                root = i
                self._root_modules[i] = weakref.ref(owner)
                break
        if root == len(self.roots):
            self.roots.append(type(owner).__name__)
            self._root_modules.append(weakref.ref(owner))
        for path, child in owner.named_modules():
            self._enter(root, _without_wrappers(path), child)
        if id(module) not in self._numbers or self._known[id(module)]() is not module:
            self._enter(root, type(module).__name__, module)

    def _enter(self, root: int, path: str, module: nn.Module) -> None:
        ref = self._known.get(id(module))
        if ref is not None and ref() is module:
            return
        key = (root, path)
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = len(self.paths)
            self.paths.append(key)
        self._numbers[id(module)] = number
        self._known[id(module)] = weakref.ref(module)

    def _owner(self, module: nn.Module) -> nn.Module:
        """Find the module at the top of the tree that ``module`` belongs to, if any is running.

        A model whose parts are called one by one (``model.encoder(x)``) is found among the live
        modules by following ``_modules`` upwards.
        """
        if self.stack:
            return module
        parents: dict[int, nn.Module] = {}
        live = [ref() for ref in list(LIVE_MODULES.values())]
        for candidate in live:
            if candidate is None:
                continue
            for child in candidate._modules.values():
                if child is not None:
                    parents.setdefault(id(child), candidate)
        seen = set()
        while id(module) in parents and id(module) not in seen:
            seen.add(id(module))
            module = parents[id(module)]
        return module

    def ancestors(self, number: int) -> Iterator[int]:
        """Yield a module and those around it, from the inside out."""
        root, path = self.paths[number]
        while path:
            yield self._ids.get((root, path), 0)
            path = path.rpartition(".")[0]
        yield self._ids.get((root, ""), 0)

    # --- results ------------------------------------------------------------------------------

    def display_paths(self) -> list[str]:
        """Return the name of every module number; several models are told apart by their class."""
        big = {root for root, path in self.paths[1:] if path}
        prefix = len(big) > 1
        names = [""]
        labels = _unique(self.roots)
        for root, path in self.paths[1:]:
            if not path:
                names.append(labels[root])
            else:
                names.append(f"{labels[root]}.{path}" if prefix else path)
        return names

    def note(self) -> None:
        """Note classes and parameters of the modules as they are now; they may not live to the end."""
        seen: set[int] = set()
        by_number: dict[int, nn.Module] = {}
        for ident, ref in self._known.items():
            module = ref()
            if module is not None and id(module) == ident:
                by_number.setdefault(self._numbers[ident], module)
        for number, module in sorted(by_number.items()):
            self._notes[number] = (
                type(module).__name__, *_parameters(module, seen), self._output_shapes.get(number),
                _details(module),
            )  # fmt: skip

    def named(self) -> Iterator[tuple[nn.Module, str]]:
        """Yield the modules that are alive, each with the template of its name."""
        names = self.display_paths()
        for ident, ref in self._known.items():
            module = ref()
            if module is not None and id(module) == ident:
                yield module, split_template(names[self._numbers[ident]])[0]

    def describe(self) -> tuple[ModuleInfo, ...]:
        """Describe every module noted, alike ones together."""
        self.note()
        names = self.display_paths()
        groups: dict[tuple[Any, ...], list[tuple[int, ...]]] = {}
        for number, note in sorted(self._notes.items()):
            template, numbers = split_template(names[number])
            groups.setdefault((template, *note), []).append(numbers)
        infos = []
        for (template, name, own, trainable, tied, size, shape, details), found in groups.items():
            infos.append(ModuleInfo(
                template=template, class_name=name, count=len(found), first=found[0],
                last=found[-1], parameters=own, trainable_parameters=trainable,
                tied_parameters=tied, parameter_bytes=size, output_shape=shape,
                details=dict(details),
            ))  # fmt: skip
        return tuple(infos)


# Every module alive, so that a part called by itself can be traced to its owner. Filled by
# ``watch_modules``; empty in a live recording, where parts are then named by themselves.
# By identity: modules may define their own hash (metrics do, by state they do not have yet).
LIVE_MODULES: dict[int, weakref.ref[nn.Module]] = {}


@contextmanager
def watch_modules() -> Iterator[None]:
    """Note modules as they are made."""
    init = nn.Module.__init__

    def noted(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        key = id(self)
        LIVE_MODULES[key] = weakref.ref(self, lambda ref: LIVE_MODULES.pop(key, None))

    nn.Module.__init__ = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__init__ = init  # type: ignore[method-assign]
        LIVE_MODULES.clear()


def _without_wrappers(path: str) -> str:
    parts = [part for part in path.split(".") if part not in _WRAPPERS]
    return ".".join(parts)


def _unique(names: list[str]) -> list[str]:
    counts: dict[str, int] = {}
    out = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        out.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return out


def _first_shape(out: Any) -> tuple[int, ...] | None:
    if isinstance(out, torch.Tensor):
        return tuple(out.shape)
    if isinstance(out, dict):
        out = tuple(out.values())
    if isinstance(out, (tuple, list)):
        for item in out:
            shape = _first_shape(item)
            if shape is not None:
                return shape
    return None


def _parameters(module: nn.Module, seen: set[int]) -> tuple[int, int, int, int]:
    own = trainable = tied = size = 0
    for parameter in module._parameters.values():
        if parameter is None:
            continue
        elements = parameter.numel()
        if id(parameter) in seen:
            tied += elements
            continue
        seen.add(id(parameter))
        own += elements
        size += elements * parameter.element_size()
        trainable += elements if parameter.requires_grad else 0
    return own, trainable, tied, size


def _details(module: nn.Module) -> tuple[tuple[str, Any], ...]:
    found: list[tuple[str, Any]] = []
    builtin = type(module).__module__.startswith("torch.")
    for name in (*_DETAILS, *_BUILTIN):
        value = getattr(module, name, None)
        sizes = isinstance(value, tuple) and all(isinstance(v, int) for v in value)
        if sizes or (builtin and isinstance(value, (int, float, str))):
            found.append((name, value))
    return tuple(found)
