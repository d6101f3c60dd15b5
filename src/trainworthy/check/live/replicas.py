"""Do the ranks of a data-parallel run still hold the same parameters?

Each rank puts one 64-bit number for each tensor into the store that the process group was made with: no collective, so
nothing can hang if a rank does not look. Rank 0 compares when all numbers are there.
"""

from __future__ import annotations

import contextlib
import gc
import json
import time
from typing import Any

import torch
from torch import distributed as dist

from trainworthy.check.finding import Place
from trainworthy.check.live.facts import Replicas
from trainworthy.check.live.watch import Watch, plain

_STEPS = (1, 2, 4, 8, 16, 32, 64)
_WAIT_S = 5.0
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class ReplicaWatch:
    """Compares replicated tensors across ranks after steps 1, 2, 4, 8, ..."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._models: list[Any] | None = None
        self._pending: list[tuple[int, Place, list[str]]] = []

    def step_ends(self, place: Place, others: list[torch.Tensor]) -> None:
        """Publish this rank's numbers after some steps; ``others`` are parameters that optimizers step."""
        number = self.watch.step + 1
        if number not in _STEPS or not _is_parallel():
            return
        with contextlib.suppress(Exception):
            named = self._replicated(others)
            if named:
                names = list(named)
                hashes = [int(h) for h in read_integers([bits(t) for t in named.values()])]
                self._store().set(self._key(number, dist.get_rank()), json.dumps([names, hashes]))
                self._pending.append((number, place, names))
            self._compare(wait_s=0.0)

    def finish(self) -> None:
        """Compare what is still open, waiting a little for slower ranks."""
        if self._pending and _is_parallel():
            with contextlib.suppress(Exception):
                self._compare(wait_s=_WAIT_S)

    def _replicated(self, others: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._models is None:
            self._models = [m for m in gc.get_objects() if type(m).__name__ == "DistributedDataParallel"]
        if not self._models:
            return {}
        found: dict[str, torch.Tensor] = {}
        inside = set()
        for model in self._models:
            ignored = set(getattr(model, "parameters_to_ignore", ()))
            for name, parameter in model.module.named_parameters():
                inside.add(id(parameter))
                if name not in ignored and plain(parameter):
                    found[f"parameter {name}"] = parameter
            if not getattr(model, "broadcast_buffers", True):
                for name, buffer in model.module.named_buffers():
                    if plain(buffer):
                        found[f"buffer {name}"] = buffer
        for index, parameter in enumerate(others):
            if id(parameter) not in inside and plain(parameter):
                found[f"outside {index} {self.watch.names.parameter(parameter)}"] = parameter
        return found

    def _compare(self, *, wait_s: float) -> None:
        if dist.get_rank() != 0:
            return
        until = time.monotonic() + wait_s
        while self._pending:
            number, place, _ = self._pending[0]
            keys = [self._key(number, rank) for rank in range(dist.get_world_size())]
            while not self._store().check(keys):
                if time.monotonic() >= until:
                    return
                time.sleep(0.02)
            self._pending.pop(0)
            self._note(number, place, [json.loads(self._store().get(key)) for key in keys])

    def _note(self, number: int, place: Place, told: list[Any]) -> None:
        names = told[0][0]
        if any(other[0] != names for other in told):
            return  # ranks hold different things: not a plain data-parallel run
        columns = list(zip(*(other[1] for other in told), strict=True))
        bad = [name for name, column in zip(names, columns, strict=True) if len(set(column)) > 1]
        for kind in ("parameter", "buffer", "outside"):
            those = [name.split(" ", 1)[1] for name in bad if name.startswith(kind)]
            if those:
                self.watch.facts.replicas.append(Replicas(
                    step=number, place=place, names=tuple(n.split(" ", 1)[-1] for n in those),
                    is_buffer=kind == "buffer", wrapped=kind != "outside", world_size=len(told),
                    num_compared=len(names),
                ))  # fmt: skip

    def _store(self) -> Any:
        return dist.distributed_c10d._get_default_store()

    def _key(self, number: int, rank: int) -> str:
        return f"trainworthy/replicas/{number}/{rank}"


def _is_parallel() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor's bits, read as integers: equal tensors have equal sums, whatever the device."""
    kind = _INTEGERS[tensor.element_size()]
    return tensor.detach().contiguous().view(-1).view(kind).sum(dtype=torch.int64)


def read_integers(values: list[torch.Tensor]) -> list[int]:
    """Bring 64-bit integers home without rounding them."""
    return [int(v) for v in torch.stack([v.cpu() for v in values]).tolist()] if values else []
