"""The tables of a report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Sequence

from trainworthy.inspect.advice import gpu_label, kind_label
from trainworthy.inspect.memory_kinds import MEANINGS
from trainworthy.inspect.result import RehearsalResult
from trainworthy.inspect.tree import ModuleRow
from trainworthy.report.tables import Table, clean, left, right, rows_of
from trainworthy.tape.record import Source
from trainworthy.units import UNKNOWN, format_bytes, format_count, format_si

_TOP = 10


def all_tables(result: RehearsalResult, *, max_module_rows: int | None = None) -> list[Table]:
    """Build every table that has something to say."""
    tables = [
        module_table(result, max_rows=max_module_rows),
        *line_tables(result),
        memory_table(result),
        steps_table(result),
        receptive_field_table(result),
        parameter_table(result),
        sync_table(result),
        unknown_table(result),
        effects_table(result),
        assumption_table(result),
    ]
    return [table for table in tables if table is not None]


# --- several GPUs -------------------------------------------------------------------------------------------------


def gpu_table(results: Sequence[RehearsalResult]) -> Table:
    """Put the answers for several GPUs side by side."""
    rows = [
        (
            gpu_label(r), r.verdict, format_bytes(r.needed_memory_bytes), format_bytes(r.driver_memory_bytes),
            _spare(r), format_bytes(r.peak_memory_bytes), format_bytes(r.reserved_memory_bytes),
            format_bytes(r.context_bytes), _flop(r.flops_per_step),
        )
        for r in results
    ]  # fmt: skip
    return Table(
        key="gpus", title="GPUs side by side", rows=rows_of(rows),
        columns=(left("GPU"), left("verdict"), right("needed"), right("has"), right("to spare"),
                 right("peak", from_width=90), right("reserved", from_width=100),
                 right("context", from_width=110), right("FLOP/step", from_width=120)),
        note="needed = reserved by the caching allocator + CUDA context (both modelled); peak = allocated.",
    )  # fmt: skip


def _spare(result: RehearsalResult) -> str:
    if result.driver_memory_bytes is None:
        return UNKNOWN
    return format_bytes(result.driver_memory_bytes - result.needed_memory_bytes)


# --- modules ------------------------------------------------------------------------------------------------------


def module_table(result: RehearsalResult, *, max_rows: int | None = None) -> Table | None:
    """Show the folded module tree; with ``max_rows``, deep levels are left out until it fits."""
    rows = [row for top in result.modules for row in top.walk()]
    if not rows:
        return None
    shown = _shallow_enough(rows, max_rows)
    total = _total(result.modules)
    cells = [_module_cells(row) for row in [*shown, total]]
    hidden = len(rows) - len(shown)
    note = "xN: N alike modules and all of their work; a row includes those below it; saved: over all micro-batches."
    if any(row.amounts.unknown_flop_ops for row in rows):
        note += " + marks FLOPs that lack operations without a formula."
    if hidden:
        note += f" {hidden} deeper rows are in the JSON, the HTML page and in piped output."
    return Table(
        key="modules", title=f"Modules{_of_step(result)}", rows=rows_of(cells), note=note,
        columns=(left("module"), left("class"), left("output", from_width=100), right("params"), right("fwd FLOP"),
                 right("bwd FLOP"), right("share"), right("saved"),
                 right("FLOP/B", from_width=90)),
        emphasis=frozenset({len(cells) - 1}),
    )  # fmt: skip


def _shallow_enough(rows: list[ModuleRow], max_rows: int | None) -> list[ModuleRow]:
    if max_rows is None:
        return rows
    for depth in range(max(row.depth for row in rows), 0, -1):
        kept = [row for row in rows if row.depth <= depth]
        if len(kept) <= max_rows:
            return kept
    return [row for row in rows if row.depth == 0]


def _module_cells(row: ModuleRow) -> tuple[str, ...]:
    a = row.amounts
    plus = "+" if a.unknown_flop_ops else ""
    forward, backward = _flop(a.flops_forward) + plus, _flop(a.flops_backward + a.flops_optimizer) + plus
    times = f" x{row.count}" if row.count > 1 else ""
    share = f"{100 * row.share:.0f} %" if row.share else ""
    intensity = f"{a.flops_per_byte:.1f}" if a.flops_per_byte is not None else ""
    return (
        f"{'  ' * row.depth}{row.name}{times}", row.class_name, shape_text(row.output_shape), _parameters(row),
        _blank_zero(a.flops_forward, forward), _blank_zero(a.flops_backward + a.flops_optimizer, backward), share,
        _blank_zero(a.activation_bytes, format_bytes(a.activation_bytes)), intensity,
    )  # fmt: skip


def _parameters(row: ModuleRow) -> str:
    if row.tied_parameters and not row.parameters:
        return "tied"
    text = format_count(row.parameters) if row.parameters else ""
    return f"{text} + tied" if row.tied_parameters and row.depth else text


def _total(rows: list[ModuleRow]) -> ModuleRow:
    total = ModuleRow(name="total", path="", class_name="")
    for row in rows:
        total.parameters += row.parameters
        total.amounts.add(row.amounts)
    total.share = 1.0 if total.amounts.flops else None
    return total


def shape_text(shape: tuple[int, ...] | None) -> str:
    """Write a shape.

    >>> shape_text((8, 1024, 768)), shape_text(()), shape_text(None)
    ('8, 1024, 768', 'scalar', '')
    """
    if shape is None:
        return ""
    return ", ".join(str(n) for n in shape) if shape else "scalar"


# --- lines --------------------------------------------------------------------------------------------------------


def line_tables(result: RehearsalResult) -> list[Table]:
    """Show the lines with the most FLOPs, the most bytes moved, and the most memory held at the peak."""
    tables = (_lines_by_flops(result), _lines_by_bytes(result), held_table(result))
    return [table for table in tables if table is not None]


def _line(source: Source) -> str:
    """Name the user's line and, behind it, the line of the library that it called.

    >>> _line(Source("train.py", 8, "main", "transformers/models/llama/modeling_llama.py:164"))
    'train.py:8 > modeling_llama.py:164'
    """
    return str(source) if source.library is None else f"{source} > {source.library.rsplit('/', 1)[-1]}"


def _lines_by_flops(result: RehearsalResult) -> Table | None:
    top = [t for t in result.lines if t.flops][:_TOP]
    if not top:
        return None
    total = sum(t.flops for t in result.lines)
    rows = [
        (_line(t.source), t.source.function, _flop(t.flops) + ("+" if t.unknown_flop_ops else ""),
         _percent(t.flops, total), format_bytes(t.moved_bytes), f"{t.num_ops:,}")
        for t in top
    ]  # fmt: skip
    return Table(
        key="lines-flops", title=f"Lines by FLOPs{_of_step(result)}", rows=rows_of(rows),
        columns=(left("line"), left("in", from_width=100), right("FLOP"), right("share"), right("moved"),
                 right("ops")),
        note="Backward operations count for the forward line that caused them.",
    )  # fmt: skip


def _lines_by_bytes(result: RehearsalResult) -> Table | None:
    top = sorted((t for t in result.lines if t.moved_bytes), key=lambda t: -t.moved_bytes)[:_TOP]
    if not top:
        return None
    total = sum(t.moved_bytes for t in result.lines)
    rows = [
        (_line(t.source), t.source.function, format_bytes(t.moved_bytes), _percent(t.moved_bytes, total),
         _intensity(t.flops_per_byte), f"{t.num_ops:,}")
        for t in top
    ]  # fmt: skip
    return Table(
        key="lines-bytes", title=f"Lines by bytes moved{_of_step(result)}", rows=rows_of(rows),
        columns=(left("line"), left("in", from_width=100), right("moved"), right("share"), right("FLOP/B"),
                 right("ops")),
        note="Eager, unfused: what each operation reads and writes, caches left out.",
    )  # fmt: skip


def held_table(result: RehearsalResult) -> Table | None:
    """Show what is alive at the peak by the line that made it."""
    if not result.held:
        return None
    rows = [
        (_line(h.source), h.module.replace("{}", "*") or "-", h.origin, kind_label(h.kind), f"{h.num_storages:,}",
         format_bytes(h.total_bytes), _percent(h.total_bytes, result.peak_memory_bytes))
        for h in result.held[:_TOP]
    ]  # fmt: skip
    return Table(
        key="lines-held", title="Lines by memory held at the peak", rows=rows_of(rows),
        columns=(left("line"), left("module", from_width=90), left("made by", from_width=110), left("kind"),
                 right("tensors"), right("bytes"), right("share")),
        note="* in a module stands for any number." if any("*" in row[1] for row in rows) else "",
    )  # fmt: skip


# --- memory -------------------------------------------------------------------------------------------------------


def memory_table(result: RehearsalResult) -> Table | None:
    """Show memory by kind at the peak and which of it stays when the batch grows."""
    peak = result.peak_memory_bytes
    if not peak:
        return None
    rows: list[tuple[str, ...]] = [
        (kind_label(m.kind), m.group, format_bytes(size), _percent(size, peak), m.meaning)
        for m in MEANINGS
        if (size := result.memory_by_kind_bytes.get(m.kind, 0))
    ]
    rows.append(("tensors at the peak", "", format_bytes(peak), "100 %", "each rounded up as the allocator counts"))
    at = len(rows) - 1
    if (card := result.max_memory_allocated_bytes) is not None:
        rows.append(("allocated (modelled)", "", format_bytes(card), "", "torch.cuda.max_memory_allocated, cuBLAS too"))
    if result.reserved_memory_bytes is not None:
        reserved = result.reserved_memory_bytes
        rows.append(("reserved (modelled)", "", format_bytes(reserved), "", "torch.cuda.max_memory_reserved"))
        rows.append(("CUDA context (modelled)", "", format_bytes(result.context_bytes), "", "outside of PyTorch"))
        rows.append(("the card has", "", format_bytes(result.driver_memory_bytes), "", "what the driver reports"))
    if result.host_peak_bytes is not None:
        rows.append(("host memory, peak", "", format_bytes(result.host_peak_bytes), "", "of the rehearsal's process"))
    return Table(
        key="memory", title=f"Memory at the peak, by kind{_where(result)}", rows=rows_of(rows),
        columns=(left("kind"), left("group"), right("bytes"), right("share"), left("what it is", from_width=90)),
        note="static: there with the model; state: comes with training, as large as the weights; "
        "dynamic: comes and goes in a step, grows with the batch.",
        emphasis=frozenset({at}),
    )  # fmt: skip


def _where(result: RehearsalResult) -> str:
    if result.peak_source is None:
        return ""
    place = result.peak_source
    return f" ({clean(place['path'])}:{place['line']}, step {result.peak_step}, {result.peak_phase})"


def steps_table(result: RehearsalResult) -> Table | None:
    """Show the steps one by one; the first is often not like the others."""
    if len(result.steps_detail) < 2:
        return None
    rows = [
        (
            "before" if s["step"] == 0 else str(s["step"]), "" if s["complete"] else "unfinished", f"{s['num_ops']:,}",
            _flop(s["flops"]), format_bytes(s["moved_bytes"]), f"{s['host_syncs']:,}",
        )
        for s in result.steps_detail
    ]  # fmt: skip
    return Table(
        key="steps", title="Steps", rows=rows_of(rows),
        columns=(left("step"), left(""), right("ops"), right("FLOP"), right("moved"), right("host syncs")),
    )  # fmt: skip


# --- the rest -----------------------------------------------------------------------------------------------------


def receptive_field_table(result: RehearsalResult) -> Table | None:
    """Show the receptive field after each convolution and pooling layer."""
    if not result.receptive_fields:
        return None
    rows = [
        (layer.path, layer.class_name, _by(layer.kernel), _by(layer.stride), _by(layer.dilation),
         _by(tuple(f.size for f in layer.fields)), _by(tuple(f.jump for f in layer.fields)),
         ", ".join(f"{f.start:g}" for f in layer.fields), shape_text(layer.output_shape))
        for layer in result.receptive_fields
    ]  # fmt: skip
    return Table(
        key="receptive-fields", title="Receptive field, in pixels of the input", rows=rows_of(rows),
        columns=(left("layer"), left("class", from_width=110), right("kernel", from_width=90),
                 right("stride", from_width=90), right("dilation", from_width=100), right("field"), right("jump"),
                 right("start", from_width=90), left("output", from_width=80)),
        note="jump: distance of neighbouring outputs; start: centre of the first output's field. "
        "Araujo et al., Distill 2019. Layers after upsampling or a matrix product are left out.",
    )  # fmt: skip


def _by(numbers: tuple[int, ...]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else "x".join(str(n) for n in numbers)


def parameter_table(result: RehearsalResult) -> Table | None:
    """Show dtype and layout of the parameters of each optimizer."""
    if not result.parameter_groups:
        return None
    rows = [
        (g["optimizer"], g["dtype"], g["device"], g["layout"], f"{g['tensors']:,}", format_count(g["elements"]))
        for g in result.parameter_groups
    ]
    return Table(
        key="parameters", title="Parameters by optimizer, dtype and layout", rows=rows_of(rows),
        columns=(left("optimizer"), left("dtype"), left("device"), left("layout"), right("tensors"),
                 right("elements")),
        note="optimizer none: not trained." if any(g["optimizer"] == "none" for g in result.parameter_groups) else "",
    )  # fmt: skip


def sync_table(result: RehearsalResult) -> Table | None:
    """Show the lines at which the host waits for the device."""
    if not result.host_syncs:
        return None
    rows = [
        (f"{s.get('path') or '?'}:{s.get('line')}", s.get("what") or "", f"{s.get('count', 0):,}")
        for s in result.host_syncs
    ]
    return Table(
        key="syncs", title="Host waits for the device", rows=rows_of(rows),
        columns=(left("line"), left("what"), right("times")),
        note="Each one empties the queue of kernels; .item(), float(), print and bool() of a tensor do that.",
    )  # fmt: skip


def unknown_table(result: RehearsalResult) -> Table | None:
    """List operations without a FLOP formula; they are in no total."""
    if not result.unknown_flop_ops:
        return None
    rows = [(name, f"{count:,}") for name, count in sorted(result.unknown_flop_ops.items(), key=lambda i: -i[1])]
    return Table(
        key="unknown", title="Operations without a FLOP formula", rows=rows_of(rows),
        columns=(left("operation"), right("times")), note="They are in no total of FLOPs.",
    )  # fmt: skip


def effects_table(result: RehearsalResult) -> Table | None:
    """List what the script wanted to do outside and was kept from."""
    if not result.effects:
        return None
    rows = [(e.get("kind", ""), e.get("what", ""), f"{e.get('times', 1):,}") for e in result.effects]
    return Table(
        key="effects", title="Effects kept inside", rows=rows_of(rows),
        columns=(left("kind"), left("what"), right("times")),
    )  # fmt: skip


def assumption_table(result: RehearsalResult) -> Table | None:
    """List what was taken for granted."""
    if not result.assumptions:
        return None
    return Table(
        key="assumptions", title="Assumed", rows=rows_of([text] for text in result.assumptions), columns=(left(""),)
    )


def finding_table(result: RehearsalResult) -> Table | None:
    """Show the findings with place and fix."""
    if not result.findings:
        return None
    rows = [
        (f.get("code", ""), f.get("severity", ""), _finding_place(f.get("path"), f.get("line")), f.get("message", ""),
         f.get("fix") or "")
        for f in result.findings
    ]  # fmt: skip
    return Table(
        key="findings", title="Findings", rows=rows_of(rows),
        columns=(left("code"), left("severity"), left("where"), left("what"), left("fix")),
    )  # fmt: skip


def _finding_place(path: str | None, line: int | None) -> str:
    if not path:
        return ""
    return f"{path}:{line}" if line is not None else path


def _of_step(result: RehearsalResult) -> str:
    if result.measured_step is None:
        return ""
    unfinished = "" if result.flops_per_step is not None else ", unfinished"
    return f" (step {result.measured_step}{unfinished})" if result.measured_step else " (no training step)"


def _flop(flops: int | None) -> str:
    return format_si(flops, "").rstrip()


def _blank_zero(amount: int, text: str) -> str:
    return text if amount else ("+" if text.endswith("+") else "")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else UNKNOWN


def _intensity(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}"
