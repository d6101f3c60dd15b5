"""Results that the reports are tested with."""

from __future__ import annotations

from report import cluster_tapes
from report.tape_builder import MIB, TapeBuilder, small_training
from trainworthy.inspect import RehearsalResult, summarize, summarize_ranks
from trainworthy.tape.record import ModuleInfo

HOSTILE = "</title><script>alert('1')</script><img src=x onerror=alert(2)>\x1b[31m\u202e&amp;\"'"


def fitting() -> RehearsalResult:
    return summarize(small_training(layers=4))


def too_large() -> RehearsalResult:
    return summarize(small_training(layers=4, driver_memory_bytes=460 * MIB, gpu="tiny-gpu"))


def failed() -> RehearsalResult:
    error = {
        "kind": "exception", "message": "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x128 and 100x10)",
        "path": "train.py", "line": 12, "code": "return self.fc2(x)",
        "tensors": ["x: float32[32, 128] on cuda:0, made at train.py:11"],
    }  # fmt: skip
    return summarize(small_training(layers=2, complete=False, error=error, log_tail="epoch 0\nTraceback\tlast\n"))


def full() -> RehearsalResult:
    """Every table has something to say."""
    return summarize(
        small_training(
            layers=3,
            findings=[
                {"code": "TW302", "severity": "warning", "message": "one thing", "path": "train.py", "line": 3,
                 "fix": "do another"},
            ],
            effects=[{"kind": "network", "what": "example.org", "times": 2}],
            host_syncs=[{"path": "train.py", "line": 17, "what": "item", "count": 2}],
            host_peak_bytes=300 * MIB, largest_batch={"batch": 48},
        )
    )  # fmt: skip


def empty() -> RehearsalResult:
    return summarize(TapeBuilder().build(error={"kind": "timeout", "message": "too long", "path": None, "line": None}))


def hostile() -> RehearsalResult:
    """Names, paths and messages that try to break out of a report."""
    name = HOSTILE.replace(".", "").replace("{", "").replace("}", "")
    builder = TapeBuilder()
    builder.op(name, module=name, path=HOSTILE, flops=10, births=(("activation", 5 * MIB),))
    builder.op(name, module=name, path=HOSTILE, phase="backward", flops=None, host_syncs=1)
    tape = builder.build(
        model=(ModuleInfo(template=name, class_name=HOSTILE, parameters=4, output_shape=(1,)),),
        gpu=HOSTILE, script=HOSTILE, assumptions=[HOSTILE], log_tail=HOSTILE,
        effects=[{"kind": HOSTILE, "what": HOSTILE}],
        findings=[{**dict.fromkeys(("code", "severity", "message", "path", "fix"), HOSTILE), "line": 1}],
        error={"kind": HOSTILE, "message": HOSTILE, "path": HOSTILE, "line": 1, "code": HOSTILE, "tensors": [HOSTILE]},
    )  # fmt: skip
    return summarize(tape)


def many_modules(num: int) -> RehearsalResult:
    """A model of modules that are all different, so that nothing folds."""
    builder = TapeBuilder()
    for n in range(num):
        builder.op("mm", module=f"part{n}", line=n + 1, flops=n + 1, births=(("activation", 512 * (n % 7 + 1)),))
    return summarize(builder.build())


def sharded() -> RehearsalResult:
    """64 ranks that are alike; groups inside a node, between nodes and of all."""
    return summarize_ranks([cluster_tapes.fsdp(rank) for rank in (0, 1, 8, 63)], assume_others=True)


def staged() -> RehearsalResult:
    """Four stages that are not alike."""
    return summarize_ranks([cluster_tapes.pipeline(rank, micro_batches=6) for rank in range(4)], assume_others=True)


def hanging() -> RehearsalResult:
    """Rank 0 makes a call that the others do not."""

    def only_here(tape: cluster_tapes.RankBuilder, step: int) -> None:
        tape.call("all_reduce", 4, step=step, line=40, phase="other")

    tapes = [cluster_tapes.ddp(0, after_step=only_here), cluster_tapes.ddp(1), cluster_tapes.ddp(7)]
    return summarize_ranks(tapes, assume_others=True)


def hostile_cluster() -> RehearsalResult:
    """Names of groups, lines and messages of ranks that try to break out of a report."""
    tapes = []
    for rank in range(2):
        builder = cluster_tapes.RankBuilder(rank=rank, world_size=2, gpus_per_node=1)
        group = builder.group(HOSTILE, (0, 1))
        for step in (1, 2):
            builder.op("mm", step=step, module="stage", flops=10, path=HOSTILE)
            builder.call("send" if rank == 0 else "recv", 4 * MIB, group=group, peer=1 - rank, step=step)
            builder.op("mm", step=step, module="stage", flops=10, phase="backward", path=HOSTILE)
            builder.call("all_reduce", MIB, group=group, step=step, reduce_op=HOSTILE, dtype=HOSTILE, name=HOSTILE)
            if rank == 0:
                builder.call("barrier", 0, group=group, step=step)
        error = {"kind": "x", "message": HOSTILE, "path": HOSTILE, "line": 1} if rank else None
        tapes.append(builder.tape(script=HOSTILE, gpu=HOSTILE, error=error))
    return summarize_ranks(tapes)


CLUSTERS = {"sharded": sharded, "staged": staged, "hanging": hanging, "hostile_cluster": hostile_cluster}
ALL = {
    "fitting": fitting, "too_large": too_large, "failed": failed, "full": full, "empty": empty, "hostile": hostile,
    **CLUSTERS,
}  # fmt: skip
