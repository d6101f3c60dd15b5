"""The tables of a rehearsal on a virtual cluster: ranks, traffic, process groups, what is computed beside a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainworthy.inspect.cluster import CallSite, ClusterResult, GroupUse, RankRow, Traffic
from trainworthy.inspect.links import rank_list
from trainworthy.inspect.pipeline import PipelineSchedule
from trainworthy.inspect.result import RehearsalResult
from trainworthy.report.cluster_lines import picked, ring_chunk, ring_parts
from trainworthy.report.tables import Table, left, right, rows_of
from trainworthy.tape.record import Source
from trainworthy.units import UNKNOWN, format_bytes, format_si

_TOP = 10


def cluster_tables(result: RehearsalResult) -> list[Table]:
    """Build every table that has something to say; none without a cluster."""
    cluster = result.cluster
    if cluster is None:
        return []
    step = f" (step {result.measured_step}, rank {cluster.rank})" if result.measured_step else f" (rank {cluster.rank})"
    tables = (
        rank_table(cluster), traffic_table(cluster, step), group_table(cluster, step), exposed_table(cluster, step),
        site_table(cluster, step),
    )  # fmt: skip
    return [table for table in tables if table is not None]


# --- ranks --------------------------------------------------------------------------------------------------------


def rank_table(cluster: ClusterResult) -> Table:
    """Show every kind of rank: what it needs, computes and sends, and which ranks it stands for."""
    rows: list[tuple[str, ...]] = [
        (
            rank_list(row.stands_for), f"{len(row.stands_for):,}", rank_list(sorted((row.rank, *row.alike))),
            _verdict(row), format_bytes(row.needed_memory_bytes), format_bytes(row.peak_memory_bytes),
            _flop(row.flops_per_step), format_bytes(row.collective_bytes_per_step),
            format_bytes(row.wire_bytes_per_step), ", ".join(row.differs_in),
        )
        for row in cluster.ranks
    ]  # fmt: skip
    if len(rows) == 1:
        rows = [row[:-1] for row in rows]
    covered = sum(len(row.stands_for) for row in cluster.ranks)
    note = "Ranks of one row are alike in outcome, memory, work and calls."
    if any(row.assumed for row in cluster.ranks):
        note += " Those that were not rehearsed are assumed to be like their row."
    if covered < cluster.world_size:
        left_out = cluster.world_size - covered
        note += (
            " 1 other rank was not rehearsed." if left_out == 1 else f" {left_out:,} other ranks were not rehearsed."
        )
    if cluster.not_compared:
        note += f" {cluster.not_compared}"
    at = next(i for i, row in enumerate(cluster.ranks) if cluster.rank in row.stands_for)
    return Table(
        key="ranks", title=f"Ranks of {cluster.world_size:,} on {_nodes(cluster)}", rows=rows_of(rows), note=note,
        columns=(left("ranks"), right("number", from_width=90), left("rehearsed"), left("verdict"),
                 right("needed"), right("peak", from_width=90), right("FLOP/step", from_width=70),
                 right("payload", from_width=100),
                 right("sent/step"), *([left("differs in")] if len(cluster.ranks) > 1 else [])),
        emphasis=frozenset({at} if len(rows) > 1 else ()),
    )  # fmt: skip


def _nodes(cluster: ClusterResult) -> str:
    gpus = f"{cluster.gpus_per_node} GPU{'s' if cluster.gpus_per_node > 1 else ''}"
    return f"{cluster.nodes:,} nodes of {gpus}" if cluster.nodes > 1 else f"one node of {gpus}"


def _verdict(row: RankRow) -> str:
    if row.error is None:
        return row.verdict
    path, line = row.error.get("path"), row.error.get("line")
    return f"{row.verdict} at {path}:{line}" if path else row.verdict


# --- traffic ------------------------------------------------------------------------------------------------------


def traffic_table(cluster: ClusterResult, step: str) -> Table | None:
    """Show calls and bytes by kind and link."""
    talk = cluster.communication
    if not talk.traffic:
        return None
    rows = [_traffic_cells(t, talk.groups[t.group]) for t in talk.traffic]
    rows.append(
        ("total", "", "", f"{talk.calls:,}", format_bytes(talk.payload_bytes),
         format_bytes(talk.wire_bytes - talk.wire_between_bytes), format_bytes(talk.wire_between_bytes),
         f"{sum(t.async_calls for t in talk.traffic):,}", f"{sum(t.exposed_calls for t in talk.traffic):,}",
         format_bytes(max(t.largest_bytes for t in talk.traffic)))
    )  # fmt: skip
    note = "payload: the larger of what goes in and what comes out; inside, between: what this rank sends to its own "
    note += "node and to others, in a ring."
    if any(t.link.place == "inside and between" and t.wire_bytes for t in talk.traffic):
        note += " A ring over several nodes has few hops between them: the mean over its ranks."
    return Table(
        key="communication", title=f"Communication by kind and link{step}", rows=rows_of(rows), note=note,
        columns=(left("kind"), left("group"), left("link", from_width=90), right("calls"), right("payload"),
                 right("inside"), right("between"), right("async", from_width=110),
                 right("exposed", from_width=80), right("largest", from_width=110)),
        emphasis=frozenset({len(rows) - 1}),
    )  # fmt: skip


def _traffic_cells(t: Traffic, group: GroupUse) -> tuple[str, ...]:
    return (
        t.kind, _group(group), t.link.place, f"{t.calls:,}", format_bytes(t.payload_bytes),
        _blank_zero(t.wire_inside_bytes), _blank_zero(t.wire_between_bytes), _count(t.async_calls),
        _count(t.exposed_calls), format_bytes(t.largest_bytes),
    )  # fmt: skip


def _group(group: GroupUse) -> str:
    return f"{group.name} ({len(group.ranks)})"


def group_table(cluster: ClusterResult, step: str) -> Table | None:
    """Show the process groups of the rank and what they carry."""
    groups = cluster.communication.groups
    if not groups:
        return None
    rows = [
        (g.name, f"{len(g.ranks):,}", rank_list(g.ranks), g.backend, g.link.place,
         f"{g.link.hops_between} of {g.link.hops}" if g.link.hops else "", _count(g.calls),
         _blank_zero(g.payload_bytes), _blank_zero(g.wire_bytes))
        for g in groups
    ]  # fmt: skip
    return Table(
        key="groups", title=f"Process groups{step}", rows=rows_of(rows),
        columns=(left("group"), right("ranks"), left("which"), left("backend", from_width=100), left("link"),
                 right("hops between nodes", from_width=110), right("calls"), right("payload", from_width=100),
                 right("sent")),
    )  # fmt: skip


# --- lines --------------------------------------------------------------------------------------------------------


def exposed_table(cluster: ClusterResult, step: str) -> Table | None:
    """Show the lines whose calls have nothing computed beside them."""
    exposed = cluster.communication.exposed
    if not exposed:
        return None
    rows = [
        (_line(s.source), _module(s), s.kind, _group(cluster.communication.groups[s.group]), s.phase,
         _part(s.exposed_calls, s.calls), format_bytes(s.exposed_bytes), _why_exposed(s))
        for s in exposed[:_TOP]
    ]  # fmt: skip
    return Table(
        key="exposed", title=f"Exposed: nothing is computed between issue and wait{step}", rows=rows_of(rows),
        columns=(left("line"), left("module", from_width=100), left("kind"), left("group", from_width=90),
                 left("phase"), right("calls"), right("bytes"), left("why")),
        note="bytes: what the rank sends, or receives from its peer. Order of issue: on a stream of its own a "
        "call may start earlier, beside what was issued before it."
        + _more(exposed),
    )  # fmt: skip


def _why_exposed(site: CallSite) -> str:
    if not site.async_calls:
        return "synchronous"
    return "waited for at once" if site.waited_at is None else f"waited for at once, {_wait_line(site.waited_at)}"


def site_table(cluster: ClusterResult, step: str) -> Table | None:
    """Show the lines with the most bytes on the wire, where they are waited for, and what runs meanwhile."""
    sites = [site for site in cluster.communication.sites if site.wire_bytes or site.payload_bytes]
    if not sites:
        return None
    rows = [
        (_line(s.source), _module(s), s.kind, _group(cluster.communication.groups[s.group]), s.phase, f"{s.calls:,}",
         format_bytes(s.payload_bytes), _blank_zero(s.wire_bytes), _waited(s), _beside(s.meanwhile_flops, _flop),
         _beside(s.meanwhile_bytes, format_bytes))
        for s in sites[:_TOP]
    ]  # fmt: skip
    return Table(
        key="communication-lines", title=f"Communication by line{step}", rows=rows_of(rows),
        columns=(left("line"), left("module", from_width=100), left("kind"), left("group", from_width=120),
                 left("phase", from_width=100), right("calls"), right("payload", from_width=90), right("sent"),
                 left("waited for at"),
                 right("FLOP meanwhile"), right("moved meanwhile", from_width=110)),
        note="meanwhile: what the rank computes and moves while at least one of the calls is under way."
        + _more(sites),
    )  # fmt: skip


def _more(sites: Sequence[CallSite]) -> str:
    left_out = len(sites) - _TOP
    if left_out < 1:
        return ""
    return " 1 more line is in the JSON." if left_out == 1 else f" {left_out:,} more lines are in the JSON."


def _waited(site: CallSite) -> str:
    if not site.async_calls:
        return "at once"
    return UNKNOWN if site.waited_at is None else _wait_line(site.waited_at)


def _wait_line(source: Source) -> str:
    """Name the line of a wait; without one, autograd's engine waited on behalf of ``backward``."""
    return _line(source) if source.path else "end of backward"


def _beside(amount: int | None, form: Callable[[int], str]) -> str:
    if amount is None:
        return UNKNOWN
    return form(amount) if amount else ""


# --- drawings as tables -------------------------------------------------------------------------------------------


def pipeline_table(schedule: PipelineSchedule) -> Table:
    """Show the order of blocks of every stage, with the slot of each."""
    rows = [
        (f"rank {stage.rank}", " ".join(f"{b.direction}{b.number}@{b.slot + 1}" for b in stage.blocks))
        for stage in schedule.stages
    ]
    return Table(
        key="pipeline", title="Blocks of each stage", rows=rows_of(rows), columns=(left("stage"), left("block@slot"))
    )


def ring_table(group: GroupUse, kinds: dict[str, int]) -> Table:
    """Show which chunk each rank sends in each step of a ring; of a large ring, the first and the last."""
    n = len(group.ranks)
    parts = ring_parts(kinds)
    shown = [(part, column) for part in parts for column in picked(n - 1)]
    cells = [
        (UNKNOWN if row is None else f"rank {group.ranks[row]}",
         *("…" if row is None or c is None else str(ring_chunk(part, n, row, c)) for part, c in shown))
        for row in picked(n)
    ]  # fmt: skip
    names = {"reduce_scatter": "reduce", "all_gather": "gather"}
    heads = [right(f"{names[part]} {'…' if c is None else c + 1}") for part, c in shown]
    return Table(
        key=f"ring-{group.number}", title="Chunk that each rank sends, step by step", rows=rows_of(cells),
        columns=(left("sender"), *heads),
    )  # fmt: skip


def _line(source: Source) -> str:
    text = str(source)
    return text if source.library is None else f"{text} > {source.library.rsplit('/', 1)[-1]}"


def _module(site: CallSite) -> str:
    return site.module.replace("{}", "*") or "-"


def _part(part: int, whole: int) -> str:
    return f"{part:,}" if part == whole else f"{part:,} of {whole:,}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _blank_zero(num_bytes: int) -> str:
    return format_bytes(num_bytes) if num_bytes else ""


def _flop(flops: int | None) -> str:
    return format_si(flops, "").rstrip()
