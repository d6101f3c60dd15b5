"""Peak memory of a real CPU run as PyTorch's profiler reports it.

The profiler lists every allocation and release of the CPU allocator with the operations around it.
Memory that one operation takes and gives back before it returns (workspace) is told apart: an
allocation belongs to it if the release happens inside the same outermost *recorded* operation, that
is, one that a dispatch mode sees (composite operations such as ``linear`` are not).

What a communication library takes for itself is left out likewise: allocations inside an operation of ``c10d`` and in
the library's threads (gloo copies what it reduces, and lets go of it some time later).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function


class Truth(NamedTuple):
    """Peaks in bytes: without the workspace inside operations, and with it."""

    peak_bytes: int
    peak_with_workspace_bytes: int


class _Event(NamedTuple):
    time_ns: int
    pointer: int
    size: int  # negative: released
    owner: int  # recorded operation around it; -1: none; -2: a communication library


_NOBODY, _LIBRARY = -1, -2
_MARK = "the run"  # its thread is the run's own


def profiled_peak(run: Callable[[], object]) -> Truth:
    """Run ``run`` under the profiler and replay its allocations."""
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=True)
    with profiler as prof, record_function(_MARK):
        result = run()
    roots = prof.profiler.kineto_results.experimental_event_tree()
    threads = {root.start_tid for root in roots if root.name == _MARK}
    events: list[_Event] = []
    for root in roots:
        _collect(root, _NOBODY if root.start_tid in threads else _LIBRARY, events)
    del result
    return _replay(_in_order(events))


def _is_recorded(name: str) -> bool:
    if not name.startswith("aten::"):
        return False
    packet = getattr(torch.ops.aten, name.removeprefix("aten::"), None)
    if packet is None:
        return False
    try:
        overloads = [getattr(packet, o) for o in packet.overloads()]
    except AttributeError:
        return False
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    names = [o.name() for o in overloads if torch._C._dispatch_has_kernel(o.name())]
    return not any(torch._C._dispatch_has_kernel_for_dispatch_key(n, key) for n in names)


_RECORDED: dict[str, bool] = {}


def _collect(node: Any, owner: int, events: list[_Event]) -> None:
    """Gather allocations below ``node`` without recursion (graphs of autograd nest deeply)."""
    stack = [(node, owner)]
    while stack:
        event, owner = stack.pop()
        extra = event.typed[1]
        if hasattr(extra, "alloc_size"):
            events.append(_Event(event.start_time_ns, extra.ptr, extra.alloc_size, owner))
            continue
        name = event.name
        if owner == _NOBODY and name.startswith("c10d::"):
            owner = _LIBRARY
        elif owner == _NOBODY:
            recorded = _RECORDED.get(name)
            if recorded is None:
                recorded = _RECORDED[name] = _is_recorded(name)
            if recorded:
                owner = event.id
        stack += [(child, owner) for child in event.children]


def _in_order(events: list[_Event]) -> list[_Event]:
    """Sort by time; a release that another thread noted too late comes before the memory is given out again."""
    by_pointer: dict[int, list[_Event]] = {}
    for event in sorted(events, key=lambda e: e.time_ns):
        by_pointer.setdefault(event.pointer, []).append(event)
    for known in by_pointer.values():
        for i in range(1, len(known)):
            if known[i - 1].size > 0 and known[i].size > 0:
                late = next((j for j in range(i + 1, len(known)) if known[j].size < 0), None)
                if late is not None:
                    known.insert(i, known.pop(late)._replace(time_ns=known[i].time_ns))
    return sorted((e for known in by_pointer.values() for e in known), key=lambda e: (e.time_ns, e.size > 0))


def _replay(events: list[_Event]) -> Truth:
    workspace, library = _private(events)
    alive: dict[int, int] = {}
    total = peak = total_all = peak_all = 0
    for i, event in enumerate(events):
        gone = alive.pop(event.pointer, None)  # given out again: its release was not seen
        if gone is not None and gone not in library:
            total_all -= events[gone].size
            total -= 0 if gone in workspace else events[gone].size
        if event.size < 0:
            continue  # or it was allocated before the profile began
        alive[event.pointer] = i
        if i not in library:
            total_all += event.size
            total += 0 if i in workspace else event.size
        peak, peak_all = max(peak, total), max(peak_all, total_all)
    return Truth(peak, peak_all)


def _private(events: list[_Event]) -> tuple[set[int], set[int]]:
    """Name the allocations that one operation takes and gives back, and those of a communication library."""
    workspace: set[int] = set()
    alive: dict[int, int] = {}
    for i, event in enumerate(events):
        if event.size > 0:
            alive[event.pointer] = i
        elif (born := alive.pop(event.pointer, None)) is not None:
            owner = events[born].owner
            if owner not in (_NOBODY, _LIBRARY) and owner == event.owner:
                workspace.add(born)
    return workspace, {i for i, event in enumerate(events) if event.size > 0 and event.owner == _LIBRARY}
