"""Random generators of a process: which were seeded, and who draws from those that were not.

Looked at only where the guard is there from the program's first line: a seed that was given before it came is not seen.
"""

from __future__ import annotations

import functools
import linecache
import random
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import Unseeded
from trainworthy.check.live.watch import Watch

_SEEDS = frozenset({"seed", "set_state", "setstate", "manual_seed", "set_rng_state"})
_READS = frozenset({"get_state", "getstate"})
_OF_NUMPY = frozenset({"seed", "ranf", "sample"})  # functions of the module, unlike the rest
# What is drawn for these has no effect on the training.
_BESIDE = re.compile(r"port|wandb|uuid|_id\b|\bid_|name|tmp|temp|suffix|sleep|color|colour", re.IGNORECASE)


class SeedWatch:
    """Stands in for the functions of ``random`` and ``numpy.random``, and for ``torch.manual_seed``."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._seeded: dict[str, Place] = {}
        self._drawn: dict[str, Place | None] = {}
        self._began: tuple[int, torch.Tensor] | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the functions while the context is open."""
        self._began = (torch.initial_seed(), torch.get_rng_state())
        with ExitStack() as stack:
            for library, module, name in _functions():
                function = getattr(module, name)
                setattr(module, name, self._heard(library, name, function))
                stack.callback(setattr, module, name, function)
            yield

    def _heard(self, library: str, name: str, function: Any) -> Any:
        noted = self._seeded if name in _SEEDS else self._drawn

        @functools.wraps(function)
        def heard(*args: Any, **kwargs: Any) -> Any:
            if library not in noted and self.watch.looking and not self.watch.busy:
                self.watch.attempt("seeds", self._note, library, noted)
            return function(*args, **kwargs)

        return heard

    def _note(self, library: str, noted: dict[str, Any]) -> None:
        place = self.watch.place()
        if noted is self._seeded or (place != self.watch.facts.home and not _BESIDE.search(self._line_of(place))):
            noted[library] = place

    def _line_of(self, place: Place) -> str:
        return linecache.getline(str(self.watch.finder.base / place.path), place.line)

    def finish(self) -> None:
        """Write down what was drawn without a seed where another library has one from the user's own code."""
        if self._began is not None and self._began[0] == torch.initial_seed():
            if not torch.equal(self._began[1], torch.get_rng_state()):
                self._drawn["torch"] = None
        else:
            self._seeded.setdefault("torch", self.watch.facts.home)
        seeded = next((at for at in self._seeded.values() if at != self.watch.facts.home), None)
        if seeded is not None:
            self.watch.facts.unseeded.extend(
                Unseeded(place=seeded, library=library, seeded=tuple(self._seeded), drawn=at)
                for library, at in self._drawn.items() if library not in self._seeded
            )  # fmt: skip


def _functions() -> Iterator[tuple[str, Any, str]]:
    """Yield what seeds, or draws from, the generators that each library keeps for all: library, module, name."""
    for name in ("manual_seed", "set_rng_state"):
        yield "torch", torch, name
    numpy = sys.modules.get("numpy")
    kept: list[tuple[str, Any, Any]] = [("random", random, vars(random)["_inst"])]
    if numpy is not None:
        kept.append(("numpy.random", numpy.random, numpy.random.rand.__self__))
    for library, module, generator in kept:
        for name, function in list(vars(module).items()):
            is_method = getattr(function, "__self__", None) is generator
            if (is_method or name in _OF_NUMPY) and name not in _READS and not name.startswith("_"):
                yield library, module, name
