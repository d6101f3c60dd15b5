"""How much one step trains on: samples, tokens, batches; from the notes of a rehearsal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from trainworthy.estimate.simulate import Loading
from trainworthy.tape.record import Tape

__all__ = ["Workload", "workload_of"]

_INTEGERS = frozenset({"int64", "int32", "int16", "uint8"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Amounts of one optimizer step of the whole run; None is unknown."""

    samples: float | None = None
    tokens: float | None = None
    loading: Loading | None = None
    loading_origin: str | None = None
    dataset_size: int | None = None
    assumptions: tuple[str, ...] = ()


def workload_of(
    tape: Tape, *, step: int, rank: int = 0, world_size: int = 1, samples: float | None = None,
    tokens: float | None = None, data_s_per_batch: float | None = None, workers: int | None = None,
) -> Workload:  # fmt: skip
    """Read what the rehearsal noted; what the user says goes first."""
    notes = tape.notes
    inputs = [each for each in notes.get("step_inputs") or () if each.get("step") == step]
    loaders = [each for each in notes.get("loading") or () if each.get("batches")]
    steps = max(int(notes.get("steps") or 1), 1)
    replicas = _replicas(tape, rank, world_size)
    assumed: list[str] = []
    own_samples = _samples(inputs, loaders, steps, assumed) if samples is None else None
    own_tokens = _tokens(inputs) if tokens is None else None
    if world_size > 1 and replicas is None and own_samples is not None and samples is None:
        assumed.append(
            "how many ranks have data of their own is not known: no samples a second; --samples-per-step and "
            "--tokens-per-step say how many all ranks process together"
        )
    loading, origin = _loading(loaders, steps, data_s_per_batch, workers)
    return Workload(
        samples=samples if samples is not None else _scaled(own_samples, replicas),
        tokens=tokens if tokens is not None else _scaled(own_tokens, replicas),
        loading=loading, loading_origin=origin,
        dataset_size=next((each["dataset_size"] for each in loaders if each.get("dataset_size")), None),
        assumptions=tuple(assumed),
    )  # fmt: skip


def _scaled(amount: float | None, replicas: int | None) -> float | None:
    return None if amount is None or replicas is None else amount * replicas


def _replicas(tape: Tape, rank: int, world_size: int) -> int | None:
    """Return how many ranks have data of their own; None if the rehearsal could not tell."""
    if world_size == 1:
        return 1
    for group in tape.notes.get("data_parallel") or ():
        if rank in group:
            return len(group)
    kinds = {each.collective.kind for each in tape.signatures if each.collective is not None}
    # Stages that only pass messages on work on the same samples; nothing averages gradients between replicas.
    return 1 if kinds and kinds <= {"send", "recv", "barrier"} else None


def _samples(
    inputs: Sequence[Mapping[str, Any]], loaders: Sequence[Mapping[str, Any]], steps: int, assumed: list[str]
) -> float | None:
    """Count the samples that one rank sees in a step."""
    sized = [each for each in loaders if each.get("batch_size")]
    if sized:
        return float(max(each["batch_size"] * max(each["batches"] // steps, 1) for each in sized))
    by_module: dict[str, float] = {}
    for each in inputs:
        if each["tensors"]:
            rows = each["tensors"][0][1][0]
            by_module[each["module"]] = by_module.get(each["module"], 0.0) + rows * each["forwards"]
    if not by_module:
        return None
    if len(by_module) > 1:
        assumed.append(
            f"samples of a step: the fewest that one of {', '.join(by_module)} sees; --samples-per-step says otherwise"
        )
    return min(by_module.values())


def _tokens(inputs: Sequence[Mapping[str, Any]]) -> float | None:
    """Count the positions of whole-number inputs (batch, sequence) that one rank sees in a step."""
    total = 0.0
    for each in inputs:
        shape = next((s for dtype, s in each["tensors"] if dtype in _INTEGERS and len(s) == 2), None)
        if shape is not None:
            total += shape[0] * shape[1] * each["forwards"]
    return total or None


def _loading(
    loaders: Sequence[Mapping[str, Any]], steps: int, data_s_per_batch: float | None, workers: int | None
) -> tuple[Loading | None, str | None]:
    if data_s_per_batch is None and not loaders:
        return None, None
    batches = sum(max(each["batches"] // steps, 1) for each in loaders) or 1
    processes = workers if workers is not None else max((each["workers"] for each in loaders), default=0)
    if data_s_per_batch is not None:
        seconds = data_s_per_batch * batches
        return Loading(seconds, processes), f"{data_s_per_batch:g} s a batch as you say, {_by(processes)}"
    # The first batch opens files and fills caches.
    seconds = sum(median(each["seconds"][1:] or each["seconds"]) * max(each["batches"] // steps, 1) for each in loaders)
    return Loading(seconds, processes), f"measured on this machine during the rehearsal, {_by(processes)}"


def _by(workers: int) -> str:
    return "loaded by the training process itself" if workers == 0 else f"shared by {workers} worker processes"
