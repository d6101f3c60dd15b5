"""Do the ranks of a data-parallel run still hold the same parameters?

Each rank puts one 64-bit number for each tensor into the store that the process group was made with: no collective, so
nothing can hang if a rank does not look. Rank 0 compares when all numbers are there. Which tensors must be equal:

- parameters of a model within DistributedDataParallel, and its buffers where they are not broadcast;
- DTensors (FSDP2, tensor parallelism), among the ranks whose placements say that they hold the same part;
- others that optimizers step, beside DistributedDataParallel; without it, those of which all ranks had the same
  numbers and the same gradient after the first backward pass.
"""

from __future__ import annotations

import gc
import json
import time
import weakref
from typing import Any, NamedTuple

import torch
from torch import distributed as dist
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import SameBatches
from trainworthy.check.live.facts_steps import Replicas
from trainworthy.check.live.placements import (
    PARTS,
    Replica,
    bits,
    own_buffers,
    plain_local,
    read_integers,
    same_part,
)
from trainworthy.check.live.watch import Watch, plain

_STEPS = (1, 2, 3, 4, 8, 16, 32, 64)
_WAIT_S = 5.0
_FIRST = 0  # the number under which gradients after the first backward pass are told
_sessions = 0


class _Told(NamedTuple):
    """What a rank tells after a step: its tensors, what the model was given, how many ranks its model spans."""

    replicas: list[Replica]
    inputs: int | None
    data_parallel: bool


class _Wrapped(NamedTuple):
    """A model within DistributedDataParallel; ``part`` names the ranks that hold the same."""

    model: weakref.ref[nn.Module]
    buffers: bool
    ignored: frozenset[str]
    part: str
    spans_all: bool


class ReplicaWatch:
    """Compares replicated tensors across ranks after steps 1, 2, 3, 4, 8, ..."""

    def __init__(self, watch: Watch) -> None:
        global _sessions
        _sessions += 1
        self.watch = watch
        self._session = _sessions
        self._wrapped: dict[int, _Wrapped] = {}
        self._searched = False
        self._bypassed: Place | None = None
        self._pending: list[tuple[int, Place]] = []
        self._began_alike: set[str] = set()
        self._told_first = False
        self._same_inputs: list[int] = []
        self._inputs: set[int] = set()

    def module_called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember what DistributedDataParallel wraps, and where that is called without its wrapper."""
        if type(module).__name__ == "DistributedDataParallel":
            self._remember(module)
        elif module.training and torch.is_grad_enabled():
            known = self._wrapped.get(id(module))
            if known is not None and known.model() is module:
                self._bypassed = self.watch.facts.forwards[-1].place

    def _remember(self, model: Any) -> None:
        known = self._wrapped.get(id(model.module))
        if known is not None and known.model() is model.module:
            return
        ranks = dist.get_process_group_ranks(model.process_group)
        self._wrapped[id(model.module)] = _Wrapped(
            weakref.ref(model.module), not getattr(model, "broadcast_buffers", True),
            frozenset(getattr(model, "parameters_to_ignore", ())), str(sorted(ranks)),
            len(ranks) == dist.get_world_size(),
        )  # fmt: skip

    def _search(self) -> None:
        """Look, once, for wrapped models that nobody called."""
        if not self._searched and not self._wrapped:
            self._searched = True
            for model in [m for m in gc.get_objects() if type(m).__name__ == "DistributedDataParallel"]:
                self._remember(model)

    # --- telling ----------------------------------------------------------------------------------

    def backward_ended(self) -> None:
        """Tell, once, the parameters and gradients after the first backward pass, before anything changes them."""
        if self._told_first or self.watch.step or not _is_parallel():
            return
        with self.watch.own_work():
            self.watch.attempt("replicas", self._tell_first)

    def _tell_first(self) -> None:
        self._search()
        if any(self._is_ours(each, set()) for each in self._wrapped.values()):
            return
        self._told_first = True
        named = {
            self.watch.names.parameter(p): p
            for model in self.watch.names.alive() for p in model.parameters()
            if p.grad is not None and plain(p) and plain(p.grad)
        }  # fmt: skip
        numbers = read_integers([bits(t) for p in named.values() for t in (p, p.grad) if t is not None])
        found = zip(named, numbers[::2], numbers[1::2], strict=True)
        self._tell(_FIRST, [Replica(name, hash((p, g)), PARTS) for name, p, g in found if g])

    def step_ends(self, place: Place, others: list[torch.Tensor]) -> None:
        """Publish this rank's numbers after some steps; ``others`` are parameters that optimizers step."""
        number = self.watch.step + 1
        if number not in _STEPS or not _is_parallel():
            return
        self.watch.attempt("replicas", self._tell_step, number, place, others)

    def _tell_step(self, number: int, place: Place, others: list[torch.Tensor]) -> None:
        self._tell(number, self._replicated(others))
        self._pending.append((number, place))
        self._compare(wait_s=0.0)

    def finish(self) -> None:
        """Compare what is still open, waiting a little for slower ranks."""
        if self._pending and _is_parallel():
            self.watch.attempt("replicas", lambda: self._compare(wait_s=_WAIT_S))
        steps = self._same_inputs
        if len(steps) >= 3 and len(self._inputs) >= 3:
            calls = [f.place for f in self.watch.facts.forwards if f.grad]
            self.watch.facts.same_batches.append(SameBatches(
                place=calls[-1] if calls else self.watch.facts.home, steps=tuple(steps),
                world_size=dist.get_world_size(),
            ))  # fmt: skip

    def _tell(self, number: int, replicas: list[Replica]) -> None:
        inputs = self.watch.facts.backwards[-1].inputs_hash if self.watch.facts.backwards else None
        told = _Told(replicas, inputs, any(w.spans_all for w in self._wrapped.values()))
        self._store().set(self._key(number, dist.get_rank()), json.dumps(told))

    def _replicated(self, others: list[torch.Tensor]) -> list[Replica]:
        named: dict[str, tuple[torch.Tensor, str]] = {}
        inside = set()
        self._search()
        stepped = {id(p) for p in others}
        self._wrapped = {key: each for key, each in self._wrapped.items() if self._is_ours(each, stepped)}
        for each in self._wrapped.values():
            model = each.model()
            assert model is not None
            for name, owned in model.named_parameters():
                inside.add(id(owned))
                if name not in each.ignored and plain(owned):
                    named[f"parameter {name}"] = (owned, each.part)
            named.update((f"own {n}", (b, each.part)) for n, b in own_buffers(model) if not each.buffers and plain(b))
            if each.buffers:
                named.update((f"buffer {n}", (b, each.part)) for n, b in model.named_buffers() if plain(b))
        kind = "outside" if self._wrapped else "alike"
        for parameter in others:
            name = self.watch.names.parameter(parameter)
            part = same_part(parameter)
            if part is not None:
                named[f"parameter {name}"] = (plain_local(parameter), part)
            elif id(parameter) not in inside and plain(parameter):
                named[f"{kind} {name}"] = (parameter, PARTS)
        numbers = read_integers([bits(tensor) for tensor, _ in named.values()])
        return [Replica(name, n, part) for (name, (_, part)), n in zip(named.items(), numbers, strict=True)]

    def _is_ours(self, each: _Wrapped, stepped: set[int]) -> bool:
        """Tell whether a wrapped model takes part in this training: it was called, or is optimised."""
        model = each.model()
        if model is None:
            return False
        return self.watch.names.is_part(model) or any(id(p) in stepped for p in model.parameters())

    # --- comparing, on rank 0 -----------------------------------------------------------------------

    def _compare(self, *, wait_s: float) -> None:
        if dist.get_rank() != 0:
            return
        until = time.monotonic() + wait_s
        while self._pending:
            number, place = self._pending[0]
            numbers = (number, _FIRST) if number == 1 and self._told_first else (number,)
            keys = [self._key(n, rank) for n in numbers for rank in range(dist.get_world_size())]
            while not self._store().check(keys):
                if time.monotonic() >= until:
                    return
                time.sleep(0.02)
            self._pending.pop(0)
            told = [_read(self._store().get(key)) for key in keys]
            size = dist.get_world_size()
            if len(told) > size:
                self._began_alike = _equal_everywhere([each.replicas for each in told[size:]])
            self._note(number, place, told[:size])

    def _note(self, number: int, place: Place, told: list[_Told]) -> None:
        given = {each.inputs for each in told}
        if all(each.data_parallel for each in told) and len(given) == 1 and None not in given:
            self._same_inputs.append(number)
            self._inputs |= {n for n in given if n is not None}
        holders: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for rank, each in enumerate(told):
            for name, value, part in each.replicas:
                holders.setdefault((name, part), []).append((rank, value))
        for kind in ("parameter", "buffer", "own", "outside", "alike"):
            those = {key: held for key, held in holders.items() if key[0].split(" ", 1)[0] == kind and len(held) > 1}
            if kind == "alike":
                those = {key: held for key, held in those.items() if key[0].split(" ", 1)[1] in self._began_alike}
            bad = {key: held for key, held in those.items() if len({value for _, value in held}) > 1}
            if bad:
                ranks = {rank for held in bad.values() for rank, value in held if value != held[0][1]}
                self.watch.facts.replicas.append(Replicas(
                    step=number, place=place, names=tuple(dict.fromkeys(n.split(" ", 1)[1] for n, _ in bad)),
                    is_buffer=kind in ("buffer", "own"), broadcast=kind == "own", world_size=len(told),
                    wrapped=kind in ("parameter", "buffer", "own"),
                    num_compared=len({n for n, _ in holders}), ranks=tuple(sorted(ranks)), bypassed=self._bypassed,
                    began_alike=kind == "alike",
                ))  # fmt: skip

    def _store(self) -> Any:
        return dist.distributed_c10d._get_default_store()

    def _key(self, number: int, rank: int) -> str:
        return f"trainworthy/replicas/{self._session}/{number}/{rank}"


def _read(text: bytes) -> _Told:
    replicas, inputs, data_parallel = json.loads(text)
    return _Told([Replica(*each) for each in replicas], inputs, data_parallel)


def _equal_everywhere(told: list[list[Replica]]) -> set[str]:
    """Return the names that every rank told with the same number."""
    known = [{r.name: r.value for r in each} for each in told]
    return {name for name, value in known[0].items() if all(other.get(name) == value for other in known[1:])}


def _is_parallel() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
