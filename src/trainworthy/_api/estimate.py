"""``trainworthy.estimate``: what a training step costs, from a script, a function, a rehearsal or a tape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainworthy._api.estimate_machine import is_cpu, machine_named, named_of, without_this
from trainworthy.errors import UsageError
from trainworthy.inspect import RehearsalResult, summarize, summarize_ranks
from trainworthy.inspect.collectives import POINT_TO_POINT
from trainworthy.tape.record import Tape

if TYPE_CHECKING:
    from trainworthy.estimate.amounts import Amounts
    from trainworthy.estimate.machine import Machine
    from trainworthy.estimate.memory_facts import MemoryFacts
    from trainworthy.estimate.result import Estimate, Mode
    from trainworthy.virtual.script_parent import Log, Progress

__all__ = ["estimate", "estimate_result"]

DEFAULT_GPU = "h100-sxm-80gb"


def estimate(
    target: str | Path | Callable[[], Any] | Tape | RehearsalResult,
    *,
    gpu: str | None = None,
    args: Sequence[str] = (),
    mode: Mode | None = None,
    steps: int = 2,
    time_limit_s: float = 300.0,
    memory_limit_bytes: int | None = None,
    data: str | None = None,
    is_module: bool = False,
    world_size: int | None = None,
    gpus_per_node: int | None = None,
    ranks: str | Iterable[int] | None = None,
    link: str | None = None,
    network_gbit_per_s: float | None = None,
    samples_per_step: float | None = None,
    tokens_per_step: float | None = None,
    data_s_per_batch: float | None = None,
    workers: int | None = None,
    price_per_hour: float | None = None,
    train_tokens: float | None = None,
    train_samples: float | None = None,
    train_steps: float | None = None,
    epochs: float | None = None,
    what_ifs: bool = True,
    on_progress: Progress | None = None,
    on_log: Callable[[Log], None] | None = None,
) -> Estimate:
    """Say how long a training step takes, what it needs and costs, why, and what would help.

    Args:
        target: A script, notebook, module, ``package.module:function``, a callable (all are rehearsed first, as
            ``trainworthy.rehearse`` does), a tape, or the result of a rehearsal.
        gpu: A row of ``hardware/`` such as ``"h100-sxm-80gb"``, ``"cpu"`` or ``"this"`` (this machine, calibrated), or
            a CPU row. Default: what the tape or rehearsal was made for.
        args: The script's own arguments.
        mode: ``"eager"`` or ``"compiled"``; default: what the script asks for.
        steps: How many optimizer steps to rehearse.
        time_limit_s: When a script is stopped.
        memory_limit_bytes: How much memory of this machine a script may take.
        data: Shapes that stand in for a data set.
        is_module: Whether ``target`` is a module to run as with ``python -m``.
        world_size: How many ranks the virtual cluster has.
        gpus_per_node: Ranks of one node.
        ranks: Which ranks to rehearse.
        link: The link between GPUs of a node, a row of ``hardware/links``; default: the GPU's own.
        network_gbit_per_s: What one GPU has to other nodes, in one direction.
        samples_per_step: Samples of one step over all ranks; default: what the rehearsal saw.
        tokens_per_step: Tokens of one step over all ranks; default: what the rehearsal saw.
        data_s_per_batch: How long one batch takes to load; default: measured during the rehearsal.
        workers: Processes that load batches; default: the script's own.
        price_per_hour: What one GPU costs an hour, in your currency.
        train_tokens: Tokens of the whole training, for its time, energy and money.
        train_samples: Or its samples.
        train_steps: Or its steps.
        epochs: Or its epochs.
        what_ifs: Whether to work out what would help.
        on_progress: As for ``rehearse``.
        on_log: As for ``rehearse``.

    Returns:
        The estimate; a script that fails is an answer too (``error``).

    Raises:
        UsageError: If an argument makes no sense, or the machine meant was not calibrated.
        UnknownGpuError: If nothing has the name ``gpu``.
    """
    from trainworthy.estimate.amounts import Amounts, check_amounts

    amounts = Amounts(
        samples_per_step=samples_per_step, tokens_per_step=tokens_per_step, data_s_per_batch=data_s_per_batch,
        workers=workers, price_per_hour=price_per_hour, train_tokens=train_tokens, train_samples=train_samples,
        train_steps=train_steps, epochs=epochs,
    )  # fmt: skip
    check_amounts(amounts)
    gpu = None if gpu is None else without_this(gpu)
    result = target if isinstance(target, RehearsalResult) else None
    if isinstance(target, Tape):
        result = summarize_ranks([target])
    if result is None:
        from trainworthy._api.rehearse import rehearse

        name = gpu or DEFAULT_GPU
        machine_named(name)  # refuses an unknown name before the script is run
        result = rehearse(
            target, gpu=None if is_cpu(name) else name, args=args, steps=steps, time_limit_s=time_limit_s,  # type: ignore[arg-type]
            memory_limit_bytes=memory_limit_bytes, data=data, is_module=is_module, world_size=world_size,
            gpus_per_node=gpus_per_node, ranks=ranks, imitate_cpu=is_cpu(name), on_progress=on_progress, on_log=on_log,
        )  # fmt: skip
        gpu = name
    return estimate_result(
        result, gpu=gpu, mode=mode, amounts=amounts, link=link, network_gbit_per_s=network_gbit_per_s,
        what_ifs=what_ifs, source="tape" if isinstance(target, Tape) else "script",
    )  # fmt: skip


def estimate_result(
    result: RehearsalResult, *, gpu: str | None, mode: Mode | None = None, amounts: Amounts | None = None,
    link: str | None = None, network_gbit_per_s: float | None = None, what_ifs: bool = True,
    source: Literal["script", "tape"] = "script",
) -> Estimate:  # fmt: skip
    """Estimate what a rehearsal found, on the machine called ``gpu``."""
    from trainworthy.estimate.amounts import Amounts
    from trainworthy.estimate.topology import make_topology
    from trainworthy.estimate.what_ifs import what_would_help
    from trainworthy.estimate.whole import Question, estimate_tapes

    name = gpu or named_of(result.tape)
    if name is None:
        raise UsageError(
            "The tape does not say for which GPU it is.",
            where="--gpu",
            fix="Add --gpu ID; `trainworthy gpus` lists them.",
        )
    machine = machine_named(name, notes=result.tape.notes)
    if machine.kind == "cpu":
        result = _on_cpu(result)
    cluster = result.cluster
    world = 1 if cluster is None else cluster.world_size
    per_node = 1 if cluster is None else cluster.gpus_per_node
    topology = make_topology(
        machine.gpu, gpus_per_node=per_node, world_size=world, link=link, network_gbit_per_s=network_gbit_per_s
    )
    chosen: Mode = mode or ("compiled" if result.compile_requested else "eager")
    question = Question(
        tapes=_tapes(result), machine=machine, topology=topology, mode=chosen, amounts=amounts or Amounts(),
        memory=_memory(result, machine, chosen), world_size=world, gpus_per_node=per_node, members=_members(result),
        fullest=None if cluster is None else cluster.rank,
    )  # fmt: skip
    found = dataclasses.replace(estimate_tapes(question), source=source)
    if what_ifs and found.step_time_s is not None:
        found = dataclasses.replace(found, what_ifs=what_would_help(question, found))
    return found


def _on_cpu(result: RehearsalResult) -> RehearsalResult:
    """Take a rehearsal for one on the CPU: whatever the script calls its device."""
    from trainworthy.estimate.rewrite import on_device

    return dataclasses.replace(
        result, tape=on_device(result.tape, "cpu"),
        rank_tapes={rank: on_device(tape, "cpu") for rank, tape in result.rank_tapes.items()},
    )  # fmt: skip


def _tapes(result: RehearsalResult) -> Mapping[int, Tape]:
    """Return the tapes to simulate: one of each kind of rank; all of them if ranks send each other messages."""
    cluster = result.cluster
    if cluster is None:
        return {0: result.tape}
    tapes = result.rank_tapes or {cluster.rank: result.tape}
    if any(_sends(tape) for tape in tapes.values()):
        return tapes
    wanted = {row.rank for row in cluster.ranks}
    return {rank: tape for rank, tape in tapes.items() if rank in wanted} or tapes


def _sends(tape: Tape) -> bool:
    return any(s.collective is not None and s.collective.kind in POINT_TO_POINT for s in tape.signatures)


def _members(result: RehearsalResult) -> Mapping[int, int] | None:
    """Return which simulated rank every rank is like."""
    cluster = result.cluster
    if cluster is None:
        return None
    tapes = _tapes(result)
    return {rank: rank if rank in tapes else row.rank for row in cluster.ranks for rank in row.stands_for} or None


def _memory(result: RehearsalResult, machine: Machine, mode: Mode) -> MemoryFacts:
    from trainworthy.estimate.fusion import compiled
    from trainworthy.estimate.memory_facts import MemoryFacts

    fused = None
    on_card = machine.kind == "gpu"
    if mode == "compiled" and on_card:
        fused = summarize(compiled(result.tape)).max_memory_allocated_bytes
    return MemoryFacts(
        result.peak_memory_bytes, result.max_memory_allocated_bytes if on_card else None,
        result.reserved_memory_bytes if on_card else None, fused,
    )  # fmt: skip
