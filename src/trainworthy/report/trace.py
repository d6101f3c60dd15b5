"""One step as a trace for Perfetto (ui.perfetto.dev) or chrome://tracing.

The horizontal axis is the order of operations, one microsecond each: the tape knows order and amounts, not time. The
format is the JSON of the "Trace Event Format": complete events (``X``) for operations, nested begin and end events
(``B``, ``E``) for modules, counters (``C``) for memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trainworthy.inspect.summary import measured_step
from trainworthy.tape.memory import exact_timeline_bytes
from trainworthy.tape.record import Op, Tape

_PROCESS = 1
_OPS, _MODULES = 1, 2
_PHASE_COLOURS = {
    "forward": "thread_state_running", "loss": "thread_state_iowait", "backward": "thread_state_runnable",
    "recompute": "terrible", "optimizer": "rail_animation",
}  # fmt: skip


def render_trace(tape: Tape, *, step: int | None = None) -> str:
    """Render one step (default: the last complete one) as trace JSON."""
    which = measured_step(tape) if step is None else step
    events = [*_names(which), *_events(tape, which)]
    about = "one microsecond per operation: order as modelled, not time"
    whole = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"axis": about, "step": which}}
    return json.dumps(whole, separators=(",", ":"))


def _names(step: int | None) -> list[dict[str, Any]]:
    titles = [
        ("process_name", 0, f"step {step}, in order of operations (1 us each is not time)"),
        ("thread_name", _OPS, "operations"),
        ("thread_name", _MODULES, "modules"),
    ]
    return [
        {"ph": "M", "name": name, "pid": _PROCESS, "tid": thread, "args": {"name": title}}
        for name, thread, title in titles
    ]


def _events(tape: Tape, step: int | None) -> Iterator[dict[str, Any]]:
    memory = exact_timeline_bytes(tape, tape.device)
    open_modules: list[str] = []
    ops = [op for op in tape.ops if op.step == step]
    start = ops[0].index if ops else 0
    end = 0
    for op in ops:
        at = op.index - start
        yield from _module_changes(open_modules, _ancestors(op), at)
        yield _op_event(op, at)
        yield {"ph": "C", "name": "allocated", "pid": _PROCESS, "ts": at, "args": {"bytes": memory[op.index]}}
        end = at + 1
    yield from _module_changes(open_modules, [], end)


def _op_event(op: Op, at: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "ph": "X", "name": op.name, "cat": op.phase, "pid": _PROCESS, "tid": _OPS, "ts": at, "dur": 1,
        "args": {
            "phase": op.phase, "module": op.module, "line": str(op.source), "flops": op.flops,
            "moved_bytes": op.moved_bytes, "host_syncs": op.host_syncs,
            "inputs": [f"{t.dtype}{list(t.shape)} {t.kind}" for t in op.inputs],
            "outputs": [f"{t.dtype}{list(t.shape)} {t.kind}" for t in op.outputs],
        },
    }  # fmt: skip
    if op.phase in _PHASE_COLOURS:
        event["cname"] = _PHASE_COLOURS[op.phase]
    return event


def _ancestors(op: Op) -> list[str]:
    """Name the phase and the modules around an operation, outermost first."""
    parts = op.module.split(".") if op.module else []
    return [op.phase, *(".".join(parts[: n + 1]) for n in range(len(parts)))]


def _module_changes(open_modules: list[str], wanted: list[str], at: int) -> Iterator[dict[str, Any]]:
    same = 0
    while same < min(len(open_modules), len(wanted)) and open_modules[same] == wanted[same]:
        same += 1
    for name in reversed(open_modules[same:]):
        yield {"ph": "E", "name": name, "pid": _PROCESS, "tid": _MODULES, "ts": at}
    for name in wanted[same:]:
        yield {"ph": "B", "name": name, "pid": _PROCESS, "tid": _MODULES, "ts": at}
    open_modules[same:] = wanted[same:]
