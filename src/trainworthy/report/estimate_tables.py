"""The tables of an estimate: figures, phases, what bounds it, what would help, where the time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainworthy.estimate.quantity import Quantity, maybe_product
from trainworthy.estimate.result import BOUNDS, Estimate, ShareRow
from trainworthy.report.estimate_words import gpu_words, quantity_cells
from trainworthy.report.tables import Column, Table, left, right, rows_of
from trainworthy.units import UNKNOWN, format_bytes, format_si

__all__ = ["all_estimate_tables", "machine_table"]

_MAX_ROWS = 12


def all_estimate_tables(e: Estimate, *, max_rows: int = _MAX_ROWS) -> Iterator[Table]:
    """Yield every table that has something to say."""
    tables = (
        _figures(e), _phases(e), _bounds(e), _what_ifs(e),
        _shares(e.classes, key="classes", title="Time by class of operation", name="class", max_rows=max_rows),
        _shares(e.modules, key="modules", title="Time by module", name="module", max_rows=max_rows),
        _shares(e.lines, key="lines", title="Time by line", name="line", max_rows=max_rows),
        _communication(e, max_rows), _ranks(e, max_rows), _notes(e), _definitions(e),
    )  # fmt: skip
    yield from (table for table in tables if table is not None and table.rows)


def machine_table(estimates: Sequence[Estimate]) -> Table:
    """Compare machines side by side."""
    rows = [
        (gpu_words(e), e.fits, quantity_cells(e.needed_memory_bytes, "B")[1], *quantity_cells(e.step_time_s, "s"),
         quantity_cells(e.tokens_per_s or e.samples_per_s, "/s")[1], quantity_cells(e.mfu, "%")[1],
         e.bound_by.largest if e.bound_by is not None else UNKNOWN,
         quantity_cells(e.totals.money if e.totals is not None else None, "")[1])
        for e in estimates
    ]  # fmt: skip
    return Table(
        key="machines", title="Machines", rows=rows_of(rows),
        columns=(left("machine"), left("fits"), right("needed"), right("low", from_width=100), right("step"),
                 right("high", from_width=100), right("rate"), right("MFU"), left("bound"),
                 right("money", from_width=100)),
    )  # fmt: skip


_Figure = tuple[str, "Quantity | None", str, str]  # name, value, unit, note


def _figures(e: Estimate) -> Table:
    rows = [
        (name, *quantity_cells(quantity, unit), note)
        for name, quantity, unit, note in (*_rate_figures(e), *_need_figures(e))
        if quantity is not None
    ]
    return Table(
        key="figures", title=f"Figures ({gpu_words(e)}, {e.mode})", rows=rows_of(rows),
        columns=(left(""), right("low"), right("expected"), right("high"), left("")),
    )  # fmt: skip


def _rate_figures(e: Estimate) -> Iterator[_Figure]:
    yield "step", e.step_time_s, "s", "one optimizer step in the steady state"
    yield "latency", e.latency_s, "s", "one step alone, from idle"
    yield "samples", e.samples_per_s, "samples/s", _counted(e.samples_per_step, "samples a step")
    yield "tokens", e.tokens_per_s, "tokens/s", _counted(e.tokens_per_step, "tokens a step")
    if e.world_size > 1:
        yield "tokens per GPU", e.tokens_per_s_per_gpu, "tokens/s", ""
    yield "model FLOP/s per GPU", maybe_product(e.model_tflops_per_gpu, 1e12), "FLOP/s", ""
    peak = "" if e.peak_tflops is None else f"of {e.peak_tflops:g} TFLOP/s ({e.peak_unit}, dense)"
    yield "MFU", e.mfu, "%", peak
    yield "HFU", e.hfu, "%", "recomputation included"


def _need_figures(e: Estimate) -> Iterator[_Figure]:
    yield f"memory {e.peak_memory_kind}", e.peak_memory_bytes, "B", ""
    limit = "" if e.driver_memory_bytes is None else f"of {format_bytes(e.driver_memory_bytes)} that the driver reports"
    yield "memory needed", e.needed_memory_bytes, "B", limit
    yield "power per GPU", e.power_w, "W", "modelled"
    yield "energy a step", maybe_product(e.energy_kwh_per_step, 1e3), "Wh", "modelled; the device only"
    yield "money a step", e.money_per_step, "", "your price"
    if e.totals is not None:
        price = f"at {e.price_per_hour:g} an hour and GPU" if e.price_per_hour else ""
        yield e.totals.wanted, e.totals.seconds, "s", f"{e.totals.steps:,.0f} steps"
        yield "  energy", maybe_product(e.totals.energy_kwh, 1e3), "Wh", "modelled; the device only"
        yield "  money", e.totals.money, "", price


def _counted(amount: float | None, what: str) -> str:
    return "" if amount is None else f"{amount:,.0f} {what}"


def _phases(e: Estimate) -> Table:
    rows = [_share_cells(row, with_work=True) for row in e.phases]
    return Table(
        key="phases", title="Phases", rows=rows_of(rows), columns=_share_columns("phase"),
        note="compute, memory: what each would take alone; the longer decides, operation by operation. stalled: the "
        "device stands still. time: kernels and stalls.",
    )  # fmt: skip


def _share_columns(name: str) -> tuple[Column, ...]:
    return (
        left(name), right("time"), right("share"), left("bound"), right("FLOP", from_width=100),
        right("moved", from_width=100), right("compute", from_width=76), right("memory", from_width=76),
        right("stalled", from_width=90),
        right("ops", from_width=120),
    )  # fmt: skip


def _share_cells(row: ShareRow, *, with_work: bool) -> tuple[str, ...]:
    return (
        row.name.replace("{}", "*"), _ms(row.seconds), f"{100 * row.share:.1f} %", row.bound or "",
        format_si(row.flops, "").strip() if row.flops and with_work else "",
        format_bytes(row.moved_bytes) if row.moved_bytes and with_work else "",
        _ms(row.compute_s) if row.ops else "", _ms(row.memory_s) if row.ops else "",
        _ms(row.stalled_s) if row.stalled_s > 0 else "", f"{row.ops:,}" if row.ops else "",
    )  # fmt: skip


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1e3
    if milliseconds == 0:
        return "0"
    return f"{milliseconds:,.3f} ms" if milliseconds < 10 else f"{milliseconds:,.1f} ms"


def _bounds(e: Estimate) -> Table | None:
    if e.bound_by is None or e.step_time_s is None:
        return None
    shares = e.bound_by.to_dict()
    rows = [
        (
            name,
            f"{100 * shares[name]:.1f} %",
            _ms(shares[name] * e.step_time_s.expected),
            "#" * round(40 * shares[name]),
        )
        for name in BOUNDS
    ]
    return Table(
        key="bounds", title="What bounds the step", rows=rows_of(rows),
        columns=(left(""), right("share"), right("time"), left("")),
        note="compute, memory, latency: kernels run. host, network, bubble: the device waits for launches or batches, "
        "for collectives, for another pipeline stage.",
    )  # fmt: skip


def _what_ifs(e: Estimate) -> Table | None:
    if not e.what_ifs:
        return None
    rows = [
        (w.title, f"{w.speedup:.2f} x", _ms(w.step_s), _change(w.memory_change_bytes), w.fits or UNKNOWN, w.origin,
         w.how, w.note)
        for w in e.what_ifs
    ]  # fmt: skip
    return Table(
        key="what-ifs", title="What would help", rows=rows_of(rows),
        columns=(left("change"), right("speed"), right("step"), right("memory"), left("fits"),
                 left("from", from_width=140), left("how", from_width=110), left("note", from_width=200)),
        note="speed: samples a second after over before. Each alone; they do not simply multiply. tape: simulated on "
        "the changed tape; rehearsed: the script was rehearsed again.",
    )  # fmt: skip


def _change(num_bytes: int | None) -> str:
    if num_bytes is None:
        return UNKNOWN
    if num_bytes == 0:
        return "same"
    return f"{'-' if num_bytes < 0 else '+'}{format_bytes(abs(num_bytes))}"


def _shares(shown: tuple[ShareRow, ...], *, key: str, title: str, name: str, max_rows: int) -> Table | None:
    if not shown:
        return None
    rows = [_share_cells(row, with_work=True) for row in shown[:max_rows]]
    rest = shown[max_rows:]
    note = ""
    if rest:
        note = f"{len(rest):,} more with {100 * sum(row.share for row in rest):.1f} % of the time."
    return Table(key=key, title=title, rows=rows_of(rows), columns=_share_columns(name), note=note)


def _communication(e: Estimate, max_rows: int) -> Table | None:
    if not e.communication:
        return None
    rows = [
        (c.kind, f"{c.group} ({c.ranks})", f"{c.path}:{c.line}" if c.path else UNKNOWN, c.phase, f"{c.calls:,}",
         format_bytes(c.payload_bytes), _ms(c.seconds), _ms(c.exposed_s))
        for c in e.communication[:max_rows]
    ]  # fmt: skip
    return Table(
        key="communication", title="Collectives", rows=rows_of(rows),
        columns=(left("kind"), left("group"), left("line"), left("phase", from_width=100), right("calls"),
                 right("payload"), right("time"), right("exposed")),
        note="time: alone, all calls of a step. exposed: what the device waits for it.",
    )  # fmt: skip


def _ranks(e: Estimate, max_rows: int) -> Table | None:
    if not e.ranks:
        return None
    rows = [
        (
            str(r.rank),
            f"{r.stands_for:,}",
            _ms(r.step_s),
            _ms(r.busy_s),
            _ms(r.host_s),
            _ms(r.network_s),
            _ms(r.bubble_s),
        )
        for r in e.ranks[: max(max_rows, 16)]
    ]
    return Table(
        key="ranks", title="Ranks", rows=rows_of(rows),
        columns=(right("rank"), right("stands for"), right("step"), right("busy"), right("host"), right("network"),
                 right("bubble")),
        note="busy: kernels. host, network, bubble: what the device of this rank waits for.",
    )  # fmt: skip


def _notes(e: Estimate) -> Table | None:
    rows = [(each,) for each in e.assumptions]
    rows += [(f"no formula for {name} ({count:,} a step): the time of the memory that it moves",)
             for name, count in sorted(e.unknown_ops.items(), key=lambda item: -item[1])]  # fmt: skip
    return Table(key="assumptions", title="Assumed", rows=rows_of(rows), columns=(left(""),)) if rows else None


def _definitions(e: Estimate) -> Table | None:
    rows = [(each.name, each.text) for each in e.definitions]
    return (
        Table(key="definitions", title="Definitions", rows=rows_of(rows), columns=(left(""), left("")))
        if rows
        else None
    )
