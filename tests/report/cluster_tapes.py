"""Tapes of ranks of a virtual cluster, made by hand: data parallel, sharded, a pipeline; and ranks that disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from report.tape_builder import MIB, TapeBuilder
from trainworthy.tape.record import Collective, CollectiveKind, ModuleInfo, Phase, ProcessGroup, Tape

Change = Callable[["RankBuilder", int], None]  # adds calls to a step


class RankBuilder(TapeBuilder):
    """Adds collectives by name; groups are made as they are first used."""

    def __init__(self, *, rank: int, world_size: int, gpus_per_node: int, device: str | None = None) -> None:
        super().__init__(device=device or f"cuda:{rank % gpus_per_node}")
        self.rank, self.world_size, self.gpus_per_node = rank, world_size, gpus_per_node
        self.groups: list[ProcessGroup] = [ProcessGroup("world", tuple(range(world_size)), "nccl")]

    def group(self, name: str, ranks: tuple[int, ...]) -> int:
        wanted = ProcessGroup(name, ranks, "nccl")
        if wanted not in self.groups:
            self.groups.append(wanted)
        return self.groups.index(wanted)

    def call(
        self, kind: CollectiveKind, num_bytes: int, *, group: int = 0, line: int = 1, step: int = 1,
        phase: Phase = "backward", is_async: bool = False, peer: int | None = None, dtype: str = "float32",
        bytes_out: int | None = None, reads: tuple[int, ...] = (), name: str | None = None, module: str = "",
        numbers: tuple[int, ...] = (), reduce_op: str | None = None, deaths: tuple[int, ...] = (),
    ) -> tuple[int, ...]:  # fmt: skip
        """Issue a call; returns its result (nothing for a send or a barrier)."""
        num = len(self.groups[group].ranks)
        out = num_bytes
        if kind == "all_gather":
            out = num_bytes * num
        elif kind == "reduce_scatter":
            out = num_bytes // num
        out = out if bytes_out is None else bytes_out
        op = "sum" if kind in ("all_reduce", "reduce_scatter", "reduce") and reduce_op is None else reduce_op
        collective = Collective(
            kind, group, 0 if kind == "recv" else num_bytes, 0 if kind == "send" else out, dtype, op, peer, is_async
        )
        births = () if kind in ("send", "barrier") else (("temporary", out),)
        return self.op(
            name or f"c10d.{kind}_", line=line, step=step, phase=phase, collective=collective, reads=reads,
            shape_in=(num_bytes // 4,), shape_out=(out // 4,), births=births, module=module, numbers=numbers,  # type: ignore[arg-type]
            deaths=deaths, flops=0, moved_bytes=0,
        )  # fmt: skip

    def wait(self, *storages: int, line: int, step: int = 1, phase: Phase = "backward", dies: bool = True) -> None:
        self.op("c10d.wait", line=line, step=step, phase=phase, reads=storages, moved_bytes=0,
                deaths=storages if dies else ())  # fmt: skip

    def tape(self, **notes: Any) -> Tape:
        about = {
            "gpu": "test-gpu", "gpu_name": "Test GPU", "driver_memory_bytes": 16 << 30, "context_bytes": 400 * MIB,
            "script": "train.py", "arguments": [], "seconds": 1.5, "workspace_bytes": 0, "steps_asked": 2,
            "cluster": {"rank": self.rank, "world_size": self.world_size, "gpus_per_node": self.gpus_per_node},
        }  # fmt: skip
        model = (ModuleInfo(template="layers.{}", class_name="Layer", count=4, first=(0,), last=(3,), parameters=1000),)
        return self.build(model=model, groups=tuple(self.groups), **{**about, **notes})


def ddp(
    rank: int, *, world_size: int = 8, gpus_per_node: int = 8, layers: int = 4, bucket_bytes: int = 25 * MIB,
    before_step: Change | None = None, after_step: Change | None = None, activation_bytes: int = 8 * MIB,
    device: str | None = None, **notes: Any,
) -> Tape:  # fmt: skip
    """Two steps of data parallel training: one all-reduce a layer while the backward pass goes on."""
    tape = RankBuilder(rank=rank, world_size=world_size, gpus_per_node=gpus_per_node, device=device)
    weights = [tape.op("randn", step=0, phase="other", line=3, module="layers.{}", numbers=(n,),
                       births=(("parameter", bucket_bytes),))[0] for n in range(layers)]  # fmt: skip
    tape.call("broadcast", layers * bucket_bytes, step=0, phase="other", line=6, peer=0)
    for step in (1, 2):
        if before_step:
            before_step(tape, step)
        saved = [tape.op("addmm", step=step, line=12, module="layers.{}", numbers=(n,), reads=(w,), flops=10**9,
                         births=(("activation", activation_bytes),))[0] for n, w in enumerate(weights)]  # fmt: skip
        reduced: list[int] = []
        gradients: list[int] = []
        for n in reversed(range(layers)):
            (g,) = tape.op("mm", step=step, line=12, phase="backward", module="layers.{}", numbers=(n,),
                           flops=2 * 10**9, reads=(saved[n],), births=(("gradient", bucket_bytes),),
                           deaths=(saved[n],))  # fmt: skip
            gradients.append(g)
            reduced += tape.call("all_reduce", bucket_bytes, step=step, line=15, reads=(g,), is_async=True)
        tape.wait(*reduced, line=15, step=step)
        tape.op("_foreach_add_", step=step, line=16, phase="optimizer", reads=tuple(gradients), deaths=tuple(gradients),
                moved_bytes=1000)  # fmt: skip
        if after_step:
            after_step(tape, step)
    return tape.tape(**notes)


def fsdp(rank: int, *, world_size: int = 64, gpus_per_node: int = 8, layers: int = 4, shard_bytes: int = MIB) -> Tape:
    """Two steps of sharded training on a mesh of nodes (replicas) and GPUs (shards); gathers run one layer ahead."""
    tape = RankBuilder(rank=rank, world_size=world_size, gpus_per_node=gpus_per_node)
    node = rank // gpus_per_node
    shard = tape.group("shard", tuple(range(node * gpus_per_node, (node + 1) * gpus_per_node)))
    replicas = tape.group("replicate", tuple(range(rank % gpus_per_node, world_size, gpus_per_node)))
    weights = [tape.op("empty", step=0, phase="other", line=3, module="layers.{}", numbers=(n,),
                       births=(("parameter", shard_bytes),))[0] for n in range(layers)]  # fmt: skip
    for step in (1, 2):
        for phase, order in (("forward", range(layers)), ("backward", reversed(range(layers)))):
            _layers(tape, list(order), weights, step=step, phase=phase, shard=shard, replicas=replicas)  # type: ignore[arg-type]
        norm = tape.call("all_reduce", 4, step=step, line=31, phase="optimizer")
        tape.op("_foreach_add_", step=step, line=32, phase="optimizer", reads=norm, deaths=norm, moved_bytes=1000)
    return tape.tape()


def _layers(
    tape: RankBuilder, order: list[int], weights: list[int], *, step: int, phase: Phase, shard: int, replicas: int
) -> None:
    num = len(tape.groups[shard].ranks)
    gathered: dict[int, int] = {}

    def gather(n: int) -> None:
        (gathered[n],) = tape.call("all_gather", MIB, group=shard, step=step, phase=phase, line=21, reads=(weights[n],),
                                   is_async=True, module="layers.{}", numbers=(n,))  # fmt: skip

    gather(order[0])
    for at, n in enumerate(order):
        tape.wait(gathered[n], line=22, step=step, phase=phase, dies=False)
        if at + 1 < len(order):
            gather(order[at + 1])
        born = tape.op("mm", step=step, line=23, phase=phase, module="layers.{}", numbers=(n,), reads=(gathered[n],),
                       flops=10**9, moved_bytes=1000, deaths=(gathered[n],),
                       births=(("temporary", num * MIB),))  # fmt: skip
        if phase == "backward":
            part = tape.call("reduce_scatter", num * MIB, group=shard, step=step, line=24, reads=born)
            whole = tape.call("all_reduce", MIB, group=replicas, step=step, line=25, reads=part, deaths=part)
            tape.op("view", step=step, line=25, phase=phase, reads=whole, deaths=whole, moved_bytes=0)
        tape.op("view", step=step, line=26, phase=phase, reads=born, deaths=born, moved_bytes=0)


# --- pipeline -----------------------------------------------------------------------------------------------------


def pipeline(
    rank: int, *, stages: int = 4, micro_batches: int = 4, order: Literal["gpipe", "1f1b"] = "1f1b",
    gpus_per_node: int | None = None, message_bytes: int = MIB, forget_send: bool = False,
) -> Tape:  # fmt: skip
    """Two steps of a stage: receive, forward, send; receive, backward, send."""
    tape = RankBuilder(rank=rank, world_size=stages, gpus_per_node=gpus_per_node or stages)
    num_layers = 2 if rank == 0 else 1
    for n in range(num_layers):
        tape.op("randn", step=0, phase="other", line=3, module="layers.{}", numbers=(n,), births=(("parameter", MIB),))
    for step in (1, 2):
        saved: list[list[int]] = []
        for direction in _blocks(rank, stages, micro_batches, order):
            if direction == "F":
                saved.append(_forward(tape, step, stages, message_bytes, forget_send=forget_send))
            else:
                _backward(tape, step, stages, message_bytes, saved.pop(0))
        tape.op("_foreach_add_", step=step, line=40, phase="optimizer", moved_bytes=1000)
    return tape.tape(ended_by="script")


def _blocks(rank: int, stages: int, micro: int, order: str) -> Iterator[str]:
    if order == "gpipe":
        yield from "F" * micro + "B" * micro
        return
    warm = min(stages - rank, micro)
    yield from "F" * warm
    for _ in range(micro - warm):
        yield from "BF"
    yield from "B" * warm


def _forward(tape: RankBuilder, step: int, stages: int, size: int, *, forget_send: bool) -> list[int]:
    rank = tape.rank
    got: tuple[int, ...] = ()
    if rank:
        got = tape.call("recv", size, peer=rank - 1, line=20, step=step, phase="forward")
    (out,) = tape.op("mm", line=21, step=step, module="layers.{}", numbers=(0,), flops=1000, reads=got,
                     births=(("activation", 4 * size),))  # fmt: skip
    if rank + 1 < stages and not forget_send:
        tape.call("send", size, peer=rank + 1, line=22, step=step, phase="forward", reads=(out,), is_async=True)
    return [*got, out]


def _backward(tape: RankBuilder, step: int, stages: int, size: int, saved: list[int]) -> None:
    rank = tape.rank
    got: tuple[int, ...] = ()
    if rank + 1 < stages:
        got = tape.call("recv", size, peer=rank + 1, line=30, step=step)
    (gradient,) = tape.op("mm", line=21, step=step, phase="backward", module="layers.{}", numbers=(0,), flops=2000,
                          reads=got, births=(("temporary", size),), deaths=tuple(saved))  # fmt: skip
    if rank:
        tape.call("send", size, peer=rank - 1, line=32, step=step, reads=(gradient,), is_async=True)
    tape.op("view", line=33, step=step, phase="backward", reads=(gradient,), deaths=(gradient, *got), moved_bytes=0)
