"""What would help: changes of the training, each simulated on its changed tape, ranked by what it brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from trainworthy.estimate import changes
from trainworthy.estimate.autocast import with_autocast
from trainworthy.estimate.changes import Changed
from trainworthy.estimate.memory_facts import fits_in
from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.result import Estimate, Fits, WhatIf
from trainworthy.estimate.simulate import Loading
from trainworthy.estimate.steps import Setting, run_steps, step_of
from trainworthy.estimate.whole import Question, loading_of
from trainworthy.tape.record import Tape

__all__ = ["what_would_help"]

KEPT_HEAP = "MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_MMAP_THRESHOLD_=33554432"
"""Measured on two cores of an EPYC: steps of a small ResNet, an LSTM and an autoencoder 34, 27 and 27 % shorter."""
_WORTH_TIME, _WORTH_BYTES = 1.005, 0.02  # less is within what the model can tell apart


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One change: its name, what to do, and the tapes or the setting after it."""

    name: str
    title: str
    how: str
    tapes: Mapping[int, Tape]
    setting: Setting
    note: str = ""
    saved_bytes: int | None = 0
    work: float = 1.0  # how many times the work of a step is done
    step_s: float | None = None  # where no simulation is needed


def what_would_help(question: Question, base: Estimate) -> tuple[WhatIf, ...]:
    """Simulate every change that applies; those that bring nothing are left out."""
    if base.step_time_s is None:
        return ()
    found = [each for each in (_what_if(change, question, base) for change in _changes(question, base)) if each]
    return tuple(sorted(found, key=lambda each: (-round(each.speedup, 2), each.memory_change_bytes or 0)))


def _what_if(change: _Change, question: Question, base: Estimate) -> WhatIf | None:
    assert base.step_time_s is not None  # what_would_help has looked
    step_s = run_steps(change.tapes, change.setting).step_s if change.step_s is None else change.step_s
    if step_s <= 0:
        return None
    speedup = change.work * base.step_time_s.expected / step_s
    saved = _memory_change(change, question)
    peak = base.peak_memory_bytes.expected if base.peak_memory_bytes is not None else 0.0
    saves = saved is not None and -saved > _WORTH_BYTES * peak > 0
    if speedup < _WORTH_TIME and not saves:
        return None
    return WhatIf(
        name=change.name, title=change.title, step_s=step_s, speedup=speedup, memory_change_bytes=saved,
        fits=_fits(base, saved), origin="tape", how=change.how, note=change.note,
    )  # fmt: skip


def _memory_change(change: _Change, question: Question) -> int | None:
    """Return by how much the peak of live tensors changes on the fullest rank."""
    rank = question.first if question.fullest is None else question.fullest
    if change.saved_bytes is not None and change.saved_bytes != 0:
        return -change.saved_bytes
    before, after = question.tapes.get(rank), change.tapes.get(rank)
    if change.saved_bytes is None or before is None or after is None:
        return None
    if before is after or before.classes == after.classes:
        return 0
    return after.memory().peak_bytes - before.memory().peak_bytes


def _fits(base: Estimate, change_bytes: int | None) -> Fits | None:
    if change_bytes is None or base.needed_memory_bytes is None or base.driver_memory_bytes is None:
        return None
    needed = base.needed_memory_bytes
    moved = Quantity(*(max(each + change_bytes, 0.0) for each in needed))
    return fits_in(moved, base.driver_memory_bytes)


# --- the changes --------------------------------------------------------------------------------------------------


def _changes(question: Question, base: Estimate) -> Iterator[_Change]:
    setting = Setting(
        machine=question.machine, topology=question.topology, mode=question.mode, stands_for=question.like,
        loading=loading_of(question),
    )  # fmt: skip
    on_gpu = question.machine.kind == "gpu"
    if on_gpu:
        yield from _precision(question, base, setting)
        yield from _compile(question, setting)
    else:
        yield from _kept_heap(question, setting)
    yield from _on_tapes(question, setting, on_gpu=on_gpu)
    yield from _accumulation(question, base, setting)
    yield from _workers(question, base, setting)


def _precision(question: Question, base: Estimate, setting: Setting) -> Iterator[_Change]:
    machine = setting.machine
    gpu = machine.gpu
    if gpu is None or base.peak_unit not in ("fp32", "tf32"):
        return
    if machine.unit("float32") == "fp32" and gpu.supports_tf32:
        yield _Change(
            name="tf32", title="TF32 for float32 products", how="torch.set_float32_matmul_precision('high')",
            tapes=question.tapes, setting=replace(setting, machine=replace(machine, matmul_tf32=True)),
            note="products keep 10 bits of the mantissa",
        )  # fmt: skip
    dtype = "bfloat16" if gpu.supports_bf16 else "float16"
    scaler = "" if gpu.supports_bf16 else ", with torch.amp.GradScaler"
    yield _Change(
        name="bf16" if gpu.supports_bf16 else "fp16", title=f"{dtype} autocast",
        how=f"torch.autocast('cuda', torch.{dtype}) around forward pass and loss{scaler}",
        tapes={rank: with_autocast(tape, dtype) for rank, tape in question.tapes.items()}, setting=setting,
        note="types as autocast's lists give them; weights and optimizer stay in float32",
    )  # fmt: skip


def _compile(question: Question, setting: Setting) -> Iterator[_Change]:
    if question.mode == "eager":
        yield _Change(
            name="compile", title="torch.compile", how="model = torch.compile(model)", tapes=question.tapes,
            setting=replace(setting, mode="compiled"), saved_bytes=None,
            note="elementwise chains fused; memory is not larger, how much smaller is not modelled here",
        )  # fmt: skip


def _kept_heap(question: Question, setting: Setting) -> Iterator[_Change]:
    """On a CPU: memory that the C library gives back after every step costs page faults in the next."""
    calibration = setting.machine.calibration
    if calibration is None or not calibration.page_fault_s_per_byte or calibration.versions.get("system") != "linux":
        return
    kept = replace(setting.machine, calibration=replace(calibration, page_fault_s_per_byte=0.0))
    yield _Change(
        name="kept_heap", title="memory kept between steps", how=f"{KEPT_HEAP} in the environment",
        tapes=question.tapes, setting=replace(setting, machine=kept),
        note="the process keeps its peak; how much it gave back before differs from run to run. For glibc's allocator",
    )  # fmt: skip


_TapeChange = Callable[[Tape, int], "Changed | None"]
_TAPE_CHANGES: tuple[tuple[str, str, str, _TapeChange, bool], ...] = (
    ("fused_loss", "fused cross entropy", "a fused (chunked) linear-cross-entropy kernel, such as Liger's",
     changes.with_fused_loss, True),
    ("fused_optimizer", "fused optimizer", "pass fused=True to the optimizer", changes.with_fused_optimizer, True),
    ("padding", "sizes padded to multiples of 64", "round vocabulary and hidden sizes up", changes.padded, True),
    ("channels_last", "channels_last", "model.to(memory_format=torch.channels_last), images too",
     changes.in_channels_last, True),
    ("checkpointing", "activation checkpointing on", "torch.utils.checkpoint around every block",
     changes.checkpointed, False),
    ("no_checkpointing", "activation checkpointing off", "drop torch.utils.checkpoint if it fits",
     changes.without_checkpointing, False),
    ("no_syncs", "no values read within the step", "call .item() every n steps", changes.without_syncs, True),
)  # fmt: skip


def _on_tapes(question: Question, setting: Setting, *, on_gpu: bool) -> Iterator[_Change]:
    for name, title, how, function, needs_gpu in _TAPE_CHANGES:
        if needs_gpu and not on_gpu:
            continue
        done: dict[int, Tape] = {}
        saved: int | None = 0
        note = ""
        for rank, tape in question.tapes.items():
            changed = function(tape, step_of(tape) or 0)
            done[rank] = tape if changed is None else changed.tape
            if changed is not None:
                note = changed.note
                saved = None if name == "no_checkpointing" else max(saved or 0, changed.saved_bytes or 0)
        if note:
            yield _Change(name=name, title=title, how=how, tapes=done, setting=setting, note=note, saved_bytes=saved)


def _accumulation(question: Question, base: Estimate, setting: Setting) -> Iterator[_Change]:
    """Twice the micro-steps before an optimizer step: what a step does once is done for twice the samples."""
    assert base.step_time_s is not None  # what_would_help has looked
    step_s, once = base.step_time_s.expected, _once_s(base)
    if once > 0.01 * step_s:
        yield _Change(
            name="accumulation", title="twice the gradient accumulation",
            how="step the optimizer half as often (no_sync in between); the global batch doubles",
            tapes=question.tapes, setting=setting, work=2.0, step_s=2 * step_s - once,
            note="same micro-batch; optimizer and averaging of gradients are shared by twice the samples",
        )  # fmt: skip


def _once_s(base: Estimate) -> float:
    """Return what a step does once, however many micro-steps it has: the optimizer, and waiting for all-reduces."""
    phases = sum(phase.seconds for phase in base.phases if phase.name in ("optimizer", "other"))
    reduced = sum(
        call.exposed_s for call in base.communication if call.kind == "all_reduce" and call.phase == "backward"
    )
    return phases + reduced


def _workers(question: Question, base: Estimate, setting: Setting) -> Iterator[_Change]:
    loading = setting.loading
    if loading is None or base.step_time_s is None or not base.data_s:
        return
    alone = run_steps(question.tapes, replace(setting, loading=None)).step_s
    enough = int(loading.step_s / alone) + 1 if alone > 0 else 0
    if enough > max(loading.workers, 0) and enough <= 256:
        yield _Change(
            name="workers", title=f"{enough} loader processes",
            how=f"DataLoader(num_workers={enough}, pin_memory=True)",
            tapes=question.tapes, setting=replace(setting, loading=Loading(loading.step_s, enough)),
            note=f"{loading.workers} now; loading takes {loading.step_s * 1e3:.3g} ms of work a step",
        )  # fmt: skip
