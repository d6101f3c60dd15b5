"""From a tape to the answers of a rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from trainworthy.inspect.allocator_note import NOTE, as_note
from trainworthy.inspect.memory_kinds import by_group
from trainworthy.inspect.peak import PeakMemory, peak_memory
from trainworthy.inspect.receptive_field import receptive_fields
from trainworthy.inspect.result import Finding, HostSync, Place, RehearsalResult, StepDetail, Verdict
from trainworthy.inspect.tree import module_tree
from trainworthy.tape.record import PHASES, Phase, Tape
from trainworthy.tape.totals import LineTotals, step_totals

_FORWARD: frozenset[Phase] = frozenset({"forward", "loss"})


def summarize(tape: Tape) -> RehearsalResult:
    """Work out what a recording says; what its notes leave out is None or empty."""
    notes = tape.notes
    step = measured_step(tape)
    peak = peak_memory(tape)
    lines = tape.by_line(step) if step is not None else ()
    return RehearsalResult(
        verdict=_verdict(notes, peak),
        measured_step=step,
        unknown_flop_ops=tape.unknown_flop_ops(),
        host_syncs=_host_syncs(notes, lines),
        steps_detail=_steps_detail(tape),
        parameter_groups=[asdict(group) for group in tape.parameter_groups],
        findings=_findings(tape, peak),
        modules=module_tree(tape, step),
        lines=lines,
        receptive_fields=receptive_fields(tape, step),
        tape=tape if peak.allocator is None else replace(tape, notes={**notes, NOTE: as_note(peak.allocator)}),
        **_run(tape),
        **_parameters(tape),
        **_step_amounts(tape, step if _is_whole(tape, step) else None),
        **_memory(notes, peak),
    )


def _run(tape: Tape) -> dict[str, Any]:
    """Copy what the notes say of the run."""
    notes = tape.notes
    error = notes.get("error")
    return {
        "gpu": notes.get("gpu"),
        "gpu_name": notes.get("gpu_name"),
        "device": tape.device,
        "script": notes.get("script"),
        "arguments": list(notes.get("arguments") or ()),
        "steps": notes.get("steps", sum(1 for s in tape.segments if s.step > 0 and s.complete)),
        "steps_asked": notes.get("steps_asked"),
        "host_peak_bytes": notes.get("host_peak_bytes"),
        "largest_batch": notes.get("largest_batch"),
        "compile_requested": bool(notes.get("compile_requested")),
        "seconds": notes.get("seconds"),
        "partial": notes.get("partial"),
        "assumptions": list(notes.get("assumptions") or ()),
        "effects": list(notes.get("effects") or ()),
        "error": error,
        "log_tail": notes.get("log_tail") or (error or {}).get("log_tail"),
    }


def _memory(notes: Mapping[str, Any], peak: PeakMemory) -> dict[str, Any]:
    driver, context = notes.get("driver_memory_bytes"), notes.get("context_bytes")
    place = None
    if peak.source is not None:
        place = Place(path=peak.source.path, line=peak.source.line, module=peak.module)
    return {
        "peak_memory_bytes": peak.allocated_bytes,
        "max_memory_allocated_bytes": peak.card_allocated_bytes,
        "peak_step": peak.step,
        "peak_phase": peak.phase,
        "peak_op": peak.op,
        "peak_source": place,
        "peak_index": peak.index,
        "memory_by_kind_bytes": peak.by_kind_bytes,
        "memory_by_group_bytes": {**by_group(peak.by_kind_bytes)},
        "workspace_bytes": notes.get("workspace_bytes"),
        "reserved_memory_bytes": peak.reserved_bytes,
        "context_bytes": context,
        "driver_memory_bytes": driver,
        "usable_memory_bytes": None if driver is None else driver - (context or 0),
        "out_of_memory": _out_of_memory(peak),
        "held": peak.held,
        "timeline": peak.timeline,
    }


def measured_step(tape: Tape) -> int | None:
    """Return the step that tables show: the last complete one, else the last in which something was computed.

    >>> from trainworthy.tape.record import Tape
    >>> measured_step(Tape(signatures=(), sources=(), modules=("",), classes=(), rows=(), segments=())) is None
    True
    """
    if tape.reference_step is not None:
        return tape.reference_step
    steps = [segment.step for segment in tape.segments if segment.nodes]
    return max(steps) if steps else None


def _is_whole(tape: Tape, step: int | None) -> bool:
    """Whether the amounts of ``step`` are those of a whole step: it is complete, or nothing cut the recording off."""
    if step is None:
        return False
    return step == tape.reference_step or not (tape.notes.get("error") or tape.notes.get("partial"))


def _verdict(notes: Mapping[str, Any], peak: PeakMemory) -> Verdict:
    if notes.get("error"):
        return "failed"
    driver = notes.get("driver_memory_bytes")
    if driver is None or peak.reserved_bytes is None:
        return "fits"
    return "fits" if peak.reserved_bytes + (notes.get("context_bytes") or 0) <= driver else "does-not-fit"


def _parameters(tape: Tape) -> dict[str, Any]:
    model = tape.model
    if model:
        return {
            "parameters": sum(m.parameters * m.count for m in model),
            "trainable_parameters": sum(m.trainable_parameters * m.count for m in model),
            "parameter_bytes": sum(m.parameter_bytes * m.count for m in model),
        }
    elements = sum(group.elements for group in tape.parameter_groups) if tape.parameter_groups else None
    return {"parameters": elements, "trainable_parameters": None, "parameter_bytes": None}


def _step_amounts(tape: Tape, step: int | None) -> dict[str, Any]:
    """Sum over one whole step; phase "other" (evaluation, logging) is left out of FLOPs and bytes."""
    if step is None:
        return {}
    flops = pointwise = moved = repeated = forward = syncs = collective = 0
    by_phase: dict[str, int] = {}
    for index, count in tape.row_counts(step).items():
        row = tape.rows[index]
        signature, phase = tape.signatures[row.signature], PHASES[row.phase]
        syncs += count * signature.host_syncs
        if signature.collective is not None:
            # What libraries call the size of a collective: the larger of what goes in and what comes out.
            collective += count * max(signature.collective.bytes_in, signature.collective.bytes_out)
        if phase == "other":
            continue
        own = count * (signature.flops or 0)
        flops += own
        by_phase[phase] = by_phase.get(phase, 0) + own
        pointwise += count * signature.pointwise_flops
        moved += count * signature.moved_bytes
        repeated += own if phase == "recompute" else count * signature.recompute_flops
        forward += own if phase in _FORWARD else 0
    return {
        "flops_per_step": flops, "model_flops_per_step": flops - repeated, "macs_forward": forward // 2,
        "pointwise_flops_per_step": pointwise, "moved_bytes_per_step": moved, "host_syncs_per_step": syncs,
        "collective_bytes_per_step": collective, "flops_by_phase": {p: by_phase[p] for p in PHASES if by_phase.get(p)},
    }  # fmt: skip


def _steps_detail(tape: Tape) -> list[StepDetail]:
    details = []
    for segment in tape.segments:
        totals = step_totals(tape, segment.step)
        details.append(
            StepDetail(
                step=segment.step,
                complete=segment.complete,
                num_ops=totals.num_ops,
                flops=totals.flops,
                moved_bytes=totals.moved_bytes,
                host_syncs=totals.host_syncs,
            )
        )
    return details


def _host_syncs(notes: Mapping[str, Any], lines: tuple[LineTotals, ...]) -> list[HostSync]:
    noted = notes.get("host_syncs")
    if noted is None:
        noted = [
            {"path": t.source.path, "line": t.source.line, "what": "", "count": t.host_syncs}
            for t in lines
            if t.host_syncs
        ]
    syncs: list[HostSync] = list(noted)
    return sorted(syncs, key=lambda s: -s.get("count", 0))


def _out_of_memory(peak: PeakMemory) -> dict[str, Any] | None:
    failure = peak.out_of_memory
    if failure is None:
        return None
    place = failure.place
    return {
        "requested_bytes": failure.requested_bytes, "allocated_bytes": failure.allocated_bytes,
        "reserved_bytes": failure.reserved_bytes, "step": place.step, "phase": place.phase, "op": place.op,
        "path": place.source.path, "line": place.source.line, "module": place.module,
    }  # fmt: skip


def _findings(tape: Tape, peak: PeakMemory) -> list[Finding]:
    findings: list[Finding] = list(tape.notes.get("findings") or ())
    unused = tape.notes.get("gpu") and not tape.device.startswith("cuda") and not tape.notes.get("error")
    if unused and not any(finding.get("code") == "TW701" for finding in findings):
        findings.append(
            _warning(
                "TW701",
                f"The script never used the GPU: it trained on {tape.device}, and memory is that device's.",
                fix="Move the model and every batch to the GPU (model.to('cuda')), or pass the script's device option.",
            )
        )
    if any(info.class_name == "DataParallel" for info in tape.model):
        findings.append(
            _warning(
                "TW411",
                "nn.DataParallel copies the model to every GPU in every forward pass, from one process with a thread a "
                "GPU, and gathers the output on the first; the rehearsal has one GPU.",
                fix="Use DistributedDataParallel with one process a GPU (torchrun --nproc-per-node N).",
            )
        )
    if peak.num_returned_segments and peak.out_of_memory is None:
        findings.append(
            _warning(
                "TW702",
                "It fits only because the allocator gives unused segments back to the driver "
                f"({peak.num_returned_segments} of them); every time, the GPU stops and waits.",
                fix="Make the batch smaller, or set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.",
            )
        )
    return findings


def _warning(code: str, message: str, *, fix: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, path=None, line=None, fix=fix)
