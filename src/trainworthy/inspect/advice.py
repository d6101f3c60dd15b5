"""Verdict, why, and what to do next, in a few sentences."""

from __future__ import annotations

from dataclasses import dataclass

from trainworthy.inspect.cluster_words import cluster_lines, failed_on, whose
from trainworthy.inspect.result import Finding, RehearsalResult
from trainworthy.units import format_bytes, format_count, format_flops

_MAX_NEXT = 4
_TIGHT = 0.95  # above this part of the card's memory a small change is enough to run out


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The first lines of a report."""

    verdict: str
    why: tuple[str, ...]
    next: tuple[str, ...]


def advise(result: RehearsalResult) -> Advice:
    """Word the answer."""
    return Advice(verdict=_verdict(result), why=tuple(_why(result)), next=tuple(_next(result)[:_MAX_NEXT]))


def gpu_label(result: RehearsalResult) -> str:
    """Name the GPU for people."""
    return result.gpu or result.gpu_name or result.device


# --- verdict ------------------------------------------------------------------------------------------------------


def _verdict(result: RehearsalResult) -> str:
    if result.error is not None:
        where = _place(result.error.get("path"), result.error.get("line"))
        hangs = result.error.get("kind") == "deadlock"  # found by comparing ranks that came through
        done = f" after {_counted(result.steps, 'step')}" if result.steps and not hangs else ""
        return f"{failed_on(result)}{done}{f' at {where}' if where else ''}"
    if not result.device.startswith("cuda"):
        return f"NO GPU USED  trained on {result.device}, {format_bytes(result.peak_memory_bytes)} at the peak"
    if result.driver_memory_bytes is None:
        return f"NO LIMIT SET  peak {format_bytes(result.peak_memory_bytes)} allocated; pass --gpu to know if it fits"
    needed, limit = format_bytes(result.needed_memory_bytes), format_bytes(result.driver_memory_bytes)
    if result.verdict == "fits":
        free = format_bytes(result.driver_memory_bytes - result.needed_memory_bytes)
        return f"FITS  {needed} of {limit} on {whose(result, gpu_label(result))}, {free} to spare"
    short = format_bytes(result.needed_memory_bytes - result.driver_memory_bytes)
    return f"DOES NOT FIT  {needed} needed, {limit} on {whose(result, gpu_label(result))}: {short} too much"


def _counted(num: int, thing: str) -> str:
    return f"{num:,} {thing}" if num == 1 else f"{num:,} {thing}s"


def _place(path: str | None, line: int | None) -> str:
    if not path:
        return ""
    return f"{path}:{line}" if line is not None else path


# --- why ----------------------------------------------------------------------------------------------------------


def _why(result: RehearsalResult) -> list[str]:
    lines = []
    if result.error is not None:
        lines.append(result.error.get("message", "unknown error"))
        if result.error.get("kind") != "deadlock":  # the ranks themselves came through: their figures hold
            return lines
    if result.partial:
        lines.append(f"Only a part was seen: {result.partial}")
    if result.out_of_memory is not None:
        lines.append(_out_of_memory(result))
    if result.peak_memory_bytes:
        lines.append(_peak(result))
    if result.reserved_memory_bytes is not None:
        lines.append(_reserved(result))
    if result.flops_per_step is not None:
        lines.append(_work(result))
    return lines + cluster_lines(result)


def _out_of_memory(result: RehearsalResult) -> str:
    failure = result.out_of_memory or {}
    where = _place(failure.get("path"), failure.get("line"))
    return (
        f"Memory runs out in step {failure.get('step')}, {failure.get('phase')}, at {where}: "
        f"{format_bytes(failure.get('requested_bytes'))} asked for, "
        f"{format_bytes(failure.get('allocated_bytes'))} allocated."
    )


def _peak(result: RehearsalResult) -> str:
    place, total = result.peak_source, result.peak_memory_bytes
    where = _place(place["path"], place["line"]) if place else ""
    module = f" in module {place['module']}" if place and place["module"] else ""
    kinds = sorted(result.memory_by_kind_bytes.items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{kind_label(kind)} {100 * size / total:.0f} %" for kind, size in kinds if size >= total / 200)
    when = f"step {result.peak_step}, {result.peak_phase}" if result.peak_step else "before the first step"
    head = "With enough memory the peak would be" if result.out_of_memory else "Peak"
    return f"{head} {format_bytes(total)} allocated at {where or '?'}{module} ({when}): {parts}."


def _reserved(result: RehearsalResult) -> str:
    text = f"The caching allocator reserves {format_bytes(result.reserved_memory_bytes)} (modelled)"
    if result.context_bytes:
        text += f"; the CUDA context takes {format_bytes(result.context_bytes)} beside it (modelled)"
    return text + "."


def _work(result: RehearsalResult) -> str:
    text = f"One step: {format_flops(result.flops_per_step)}"
    repeated = (result.flops_per_step or 0) - (result.model_flops_per_step or 0)
    if repeated:
        text += f" ({format_flops(repeated)} of it recomputed)"
    unknown = sum(row.amounts.unknown_flop_ops for row in result.modules)
    if unknown:
        text += f" and {_counted(unknown, 'operation')} without a formula"
    text += (
        f", {format_bytes(result.moved_bytes_per_step)} moved, {_counted(result.host_syncs_per_step or 0, 'host sync')}"
    )
    if result.parameters is not None:
        text += f"; {format_count(result.parameters)} parameters"
    return text + "."


def kind_label(kind: str) -> str:
    """Word a kind of memory.

    >>> kind_label("optimizer_state"), kind_label("activation")
    ('optimizer state', 'activations')
    """
    return _LABELS.get(kind, f"{kind}s")


_LABELS = {
    "optimizer_state": "optimizer state",
    "temporary": "temporaries",
    "workspace": "workspace",
}


# --- next ---------------------------------------------------------------------------------------------------------


def _next(result: RehearsalResult) -> list[str]:
    if result.error is not None:
        fix = result.error.get("fix")
        return [fix] if fix else ["Fix the line above and rehearse again; the end of the script's output is below."]
    steps = []
    if result.verdict == "does-not-fit":
        steps += _shrink(result)
    if result.largest_batch and result.largest_batch.get("batch") is not None:
        steps.append(f"The largest batch that fits is {result.largest_batch['batch']:,} (rehearsed).")
    steps += [_fix(finding) for finding in result.findings if finding.get("fix") and finding.get("severity") != "note"]
    steps += _about_syncs(result)
    if result.verdict == "fits" and result.driver_memory_bytes and result.device.startswith("cuda"):
        steps += _about_room(result, result.driver_memory_bytes)
    return steps or ["Nothing to do before the run."]


def _fix(finding: Finding) -> str:
    where = _place(finding.get("path"), finding.get("line"))
    return f"{where}: {finding['fix']}" if where else str(finding["fix"])


def _shrink(result: RehearsalResult) -> list[str]:
    """Say what would save most, by what holds the memory at the peak."""
    groups = result.memory_by_group_bytes
    if groups.get("dynamic", 0) >= groups.get("static", 0) + groups.get("state", 0):
        over = result.needed_memory_bytes - (result.driver_memory_bytes or 0)
        enough = groups.get("dynamic", 0) > over
        return [
            "Activations and temporaries hold most of it: make the micro-batch smaller and accumulate"
            + ("" if enough else " (that alone is not enough here)")
            + ", checkpoint blocks (torch.utils.checkpoint), or use bf16 autocast.",
            "Find the batch that fits: trainworthy rehearse --find-largest-batch.",
        ]
    return [
        "Weights, gradients and optimizer state hold most of it, and a smaller batch does not help: "
        "shard them over several GPUs, or use lower precision or an optimizer with less state.",
    ]


def _about_syncs(result: RehearsalResult) -> list[str]:
    if not result.host_syncs_per_step or not result.host_syncs:
        return []
    worst = result.host_syncs[0]
    place = _place(worst.get("path"), worst.get("line"))
    where = f"most often at {place}" if place else "in code of a library"
    return [
        f"The host waits for the GPU {_times(result.host_syncs_per_step)} a step, {where}: "
        "read values every n steps instead."
    ]


def _times(num: int) -> str:
    return "once" if num == 1 else f"{num:,} times"


def _about_room(result: RehearsalResult, limit_bytes: int) -> list[str]:
    used = result.needed_memory_bytes / limit_bytes
    if used > _TIGHT:
        return [f"{100 * used:.0f} % of the card is taken: one more sample, or a longer one, may not fit."]
    if used < 0.5 and not result.largest_batch:
        return [f"{100 * (1 - used):.0f} % of the card is free: trainworthy rehearse --find-largest-batch."]
    return []
