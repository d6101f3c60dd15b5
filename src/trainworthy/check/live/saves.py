"""Checkpoints that are written: does the file hold what memory held, and all of the model?

The first files of a look are read back, up to a size. Tensors are compared as sums of their bits, taken before the file
is written, after it, and from the file.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import Save
from trainworthy.check.live.placements import bits, read_integers
from trainworthy.check.live.watch import Watch, plain

_LOOK = "saved checkpoints"
_MAX_FILES = 3
_MAX_BYTES = 256 * 1024**2
_MAX_TENSORS = 5000
_MIN_ZEROED = 2  # one parameter may be 0 by chance


class _Saving(NamedTuple):
    """A file that is about to be written, and the bits of what goes into it."""

    value: Any
    target: Any
    place: Place
    tensors: dict[str, torch.Tensor]
    hashes: dict[str, int]


class SaveWatch:
    """Looks at ``torch.save`` and, where it is imported, at ``safetensors.torch.save_file``."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.trained: Callable[[], set[int]] = set  # identities of parameters that had a gradient
        self._looked = 0
        self._loop = threading.get_ident()  # the thread that trains

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the functions while the context is open."""
        seams: list[tuple[Any, str, Any]] = [(torch, "save", _load)]
        safetensors = sys.modules.get("safetensors.torch")
        if safetensors is not None:
            seams.append((safetensors, "save_file", safetensors.load_file))
        before = [(module, name, getattr(module, name)) for module, name, _ in seams]
        for (module, name, function), (_, _, load) in zip(before, seams, strict=True):
            setattr(module, name, self._noticing(function, load))
        try:
            yield
        finally:
            for module, name, function in before:
                setattr(module, name, function)

    def _noticing(self, function: Any, load: Any) -> Any:
        def noticed(value: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            watch, saving = self.watch, None
            if watch.looking and not watch.busy:
                saving = watch.attempt(_LOOK, self._before, value, target)
            out = function(value, target, *args, **kwargs)
            if saving is not None:
                with watch.own_work():
                    watch.attempt(_LOOK, self._after, saving, load)
            return out

        return noticed

    def _before(self, value: Any, target: Any) -> _Saving | None:
        tensors = self._tensors(value)
        if not tensors:
            return None
        return _Saving(value, target, self.watch.place(), tensors, self._hashes(tensors))

    def _after(self, saving: _Saving, load: Any) -> None:
        self._looked += 1
        before, target, after = saving.hashes, saving.target, self._hashes(saving.tensors)
        changed = tuple(n for n in saving.tensors if before[n] != after[n])
        wrong = () if changed else self._read_back(before, target, load)
        name = str(target) if isinstance(target, (str, os.PathLike)) else type(target).__name__
        saved = Save(
            place=saving.place, path=name, num_tensors=len(saving.tensors), changed=changed, wrong=wrong
        )  # fmt: skip
        self.watch.facts.saves.append(self._accounted(saved, saving.value))

    def _tensors(self, value: Any) -> dict[str, torch.Tensor]:
        if self._looked >= _MAX_FILES:
            return {}
        found = dict(named_tensors(value))
        size = sum(t.numel() * t.element_size() for t in found.values())
        return found if found and size <= _MAX_BYTES and len(found) <= _MAX_TENSORS else {}

    def _hashes(self, tensors: dict[str, torch.Tensor]) -> dict[str, int]:
        with self.watch.own_work():
            return dict(zip(tensors, read_integers([bits(t) for t in tensors.values()]), strict=True))

    def _read_back(self, before: dict[str, int], target: Any, load: Any) -> tuple[str, ...]:
        if not isinstance(target, (str, os.PathLike)) or not Path(target).is_file():
            return ()
        try:
            read = {name: t for name, t in named_tensors(load(target)) if name in before}
        except pickle.UnpicklingError:  # tensors beside objects of classes, which are not loaded here
            return ()
        hashes = dict(zip(read, read_integers([bits(t) for t in read.values()]), strict=True))
        return tuple(name for name in before if hashes.get(name) != before[name])

    def _accounted(self, saved: Save, value: Any) -> Save:
        """Add which parameters of the model the file lacks, and which are not the model's.

        The latter is only known in the thread that trains: for another one the model may be half a step further.
        """
        model, state, missing = self._lacks(value)
        if model is None:
            return saved
        parameters = dict(model.named_parameters())
        trained = {name: p for name, p in parameters.items() if id(p) in self.trained()}
        other = _others(trained, state) if threading.get_ident() == self._loop else ()
        saved = replace(saved, other=other, zeroed=_zeroed(trained, state))
        if not missing:
            return saved
        whole = sum(p.numel() for p in parameters.values())
        return replace(
            saved, model=type(model).__name__, missing=missing,
            frozen=sum(not parameters[n].requires_grad for n in missing),
            share=1 - sum(parameters[n].numel() for n in missing) / max(whole, 1),
        )  # fmt: skip

    def _lacks(self, value: Any) -> tuple[nn.Module | None, dict[str, Any], tuple[str, ...]]:
        """Return the model whose parameters a checkpoint holds, the part that holds them, and those that it lacks.

        Of several with the same names and shapes it is the one whose memory the checkpoint shares.
        """
        best: tuple[nn.Module | None, dict[str, Any], tuple[str, ...]] = (None, {}, ())
        fit = (0, 0)
        for state in [value, *(value.values() if isinstance(value, dict) else ())]:
            if not isinstance(state, dict) or not state or not all(isinstance(k, str) for k in state):
                continue
            keys = {_clean(key): value for key, value in state.items()}
            for model in self.watch.names.alive():
                names = _aliases(model)
                found = {full: keys[n] for full, known in names.items() for n in known[::-1] if n in keys}
                own = dict(model.named_parameters())
                same = sum(getattr(v, "shape", None) == own[n].shape for n, v in found.items())
                shared = sum(plain(v) and plain(own[n]) and v.data_ptr() == own[n].data_ptr() for n, v in found.items())
                if 2 * len(found) >= len(names) and 2 * same > len(found) and (shared, same) > fit:
                    fit = shared, same
                    best = model, found, tuple(full for full in names if full not in found)
        return best


def _aliases(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of each parameter, by the first: tied ones have several."""
    first: dict[int, str] = {}
    names: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        full = first.setdefault(id(parameter), name)
        names.setdefault(full, []).append(_clean(name))
    return names


def _clean(name: str) -> str:
    return name.removeprefix("module.").removeprefix("_orig_mod.")


def _others(parameters: dict[str, nn.Parameter], state: dict[str, Any]) -> tuple[str, ...]:
    """Return the names under which a checkpoint holds what is not the model's, if it holds the model's under others.

    Averaged or older weights differ in all that trains; only a mixture is a mistake.
    """
    pairs = {
        name: (p, state[name])
        for name, p in parameters.items()
        if plain(p) and plain(state.get(name)) and state[name].dtype == p.dtype and p.numel()
    }
    shaped = {name: pair for name, pair in pairs.items() if pair[0].shape == pair[1].shape}
    numbers = read_integers([bits(t) for pair in shaped.values() for t in pair])
    equal = {n for n, a, b in zip(shaped, numbers[::2], numbers[1::2], strict=True) if a == b}
    return tuple(name for name in pairs if name not in equal) if equal else ()


def _zeroed(parameters: dict[str, nn.Parameter], state: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of all parameters in a checkpoint, if each is nothing but 0 there and something in the model."""
    pairs = [(p, state[name]) for name, p in parameters.items() if plain(p) and plain(state.get(name)) and p.numel()]
    if len(pairs) < _MIN_ZEROED:
        return ()
    numbers = read_integers([torch.count_nonzero(t.detach()) for pair in pairs for t in pair])
    gone = all(numbers[::2]) and not any(numbers[1::2])
    return tuple(name for name in parameters if name in state) if gone else ()


def named_tensors(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors within nested dicts and lists that can be read, with their path."""
    if isinstance(value, torch.Tensor):
        if plain(value) and value.numel() and not value.is_quantized:
            yield path, value
    elif depth < 6:
        if isinstance(value, dict):
            for key, item in value.items():
                yield from named_tensors(item, f"{path}.{key}" if path else str(key), depth + 1)
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                yield from named_tensors(item, f"{path}.{i}", depth + 1)


def _load(path: Any) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
