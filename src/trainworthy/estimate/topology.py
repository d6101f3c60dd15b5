"""What joins the GPUs of a run: a fast link inside a node, a network between nodes; and how long a collective takes.

Ranks are numbered node by node, as torchrun does. A group inside one node communicates in rings over the fast link; a
group over several nodes in rings that leave every node through the network ports of its members, or, for small sizes,
in trees. The slower part of the way decides the bandwidth; every step costs the latency of the link that it takes.

Source: NCCL's tuning model, as torch 2.13 has it (torch/_inductor/comm_analysis.py), with the figures of ``links/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from trainworthy.errors import UnknownLinkError, UsageError
from trainworthy.formulas.collective_times import bus_bandwidth_factor, collective_steps, collective_time_s
from trainworthy.formulas.collectives import TREE_KINDS, Kind
from trainworthy.hardware.gpu import Gpu, Link
from trainworthy.hardware.links import Interconnect, link_row
from trainworthy.tape.record import Collective

__all__ = ["Topology", "make_topology"]

# The network port that vendors pair a GPU generation with in their reference systems: DGX-1 and DGX-2 EDR, DGX A100
# HDR, DGX H100 and B200 NDR; one port a GPU.
_PORTS = (((9, 0), "ib-ndr"), ((8, 0), "ib-hdr"), ((0, 0), "ib-edr"))
_FAST_LINKS = (((9, 0), "nvlink4"), ((8, 0), "nvlink3"), ((0, 0), "nvlink2"))
_BRIDGE = "bridge"  # in the name of a link that joins two cards and no more
_NETWORK_SHARE = 0.85  # of a port's rate that large messages reach; nccl-tests between nodes report 80 to 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The links of a run. ``network_gb_per_s`` is what one GPU has to other nodes, in one direction."""

    gpus_per_node: int
    inside: Interconnect | None
    network_gb_per_s: float
    network: Interconnect
    assumptions: tuple[str, ...] = ()

    def seconds(self, collective: Collective, ranks: Sequence[int], *, rank: int) -> float:
        """Return how long one call takes on its own, once every member is there."""
        if collective.kind in ("send", "recv"):
            members = (rank, rank if collective.peer is None else collective.peer)
            return self._message_s(max(collective.bytes_in, collective.bytes_out), members)
        if len(ranks) < 2:
            return 0.0
        if collective.kind == "barrier":
            return self._ring_s("all_reduce", 0, ranks)
        kind = cast("Kind", collective.kind)
        payload = payload_bytes(collective, num=len(ranks))
        ring = self._ring_s(kind, payload, ranks)
        return min(ring, self._tree_s(kind, payload, ranks)) if kind in TREE_KINDS else ring

    def _nodes(self, ranks: Sequence[int]) -> int:
        return len({rank // self.gpus_per_node for rank in ranks})

    def _bus_gb_per_s(self, ranks: Sequence[int]) -> float:
        nodes = self._nodes(ranks)
        inside = self.inside.expected_gb_per_s if self.inside is not None else float("inf")
        if nodes == 1:
            return inside
        members = len(ranks) / nodes  # each brings its own network port
        return min(inside, members * self.network_gb_per_s)

    def _ring_s(self, kind: Kind, payload: int, ranks: Sequence[int]) -> float:
        nodes, num = self._nodes(ranks), len(ranks)
        steps = collective_steps(kind=kind, ranks=num)
        between = round(steps * nodes / num) if nodes > 1 else 0
        latency = self._base_s(nodes) + (steps - between) * self._inside_step_s() + between * self._between_step_s()
        sent = payload * bus_bandwidth_factor(kind=kind, ranks=num)
        return latency + sent / (self._bus_gb_per_s(ranks) * 1e9)

    def _tree_s(self, kind: Kind, payload: int, ranks: Sequence[int]) -> float:
        nodes, num = self._nodes(ranks), len(ranks)
        step = self._between_step_s() if nodes > 1 else self._inside_step_s()
        # NCCL's trees are chains inside a node; their bandwidth is 0.92 of a ring's (torch's model of NCCL).
        return collective_time_s(
            kind=kind, payload_bytes=payload, ranks=num, bus_gb_per_s=0.92 * self._bus_gb_per_s(ranks),
            algorithm="tree", base_latency_s=self._base_s(nodes), step_latency_s=step,
        )  # fmt: skip

    def _message_s(self, payload: int, members: Sequence[int]) -> float:
        nodes = self._nodes(members)
        step = self._between_step_s() if nodes > 1 else self._inside_step_s()
        rate = self.network_gb_per_s if nodes > 1 else self._bus_gb_per_s(members)
        return self._base_s(nodes) + step + payload / (rate * 1e9)

    def _base_s(self, nodes: int) -> float:
        link = self.network if nodes > 1 or self.inside is None else self.inside
        return link.base_latency_us * 1e-6

    def _inside_step_s(self) -> float:
        return (self.inside or self.network).step_latency_us * 1e-6

    def _between_step_s(self) -> float:
        return self.network.step_latency_us * 1e-6


def payload_bytes(collective: Collective, *, num: int) -> int:
    """Return the size that the formulas speak of, from what one rank puts in and gets out."""
    if collective.kind == "gather":
        return max(collective.bytes_in * num, collective.bytes_out)
    if collective.kind == "scatter":
        return max(collective.bytes_in, collective.bytes_out * num)
    if collective.kind == "all_gather":
        return collective.bytes_out
    if collective.kind in ("reduce_scatter", "all_to_all", "all_reduce", "reduce"):
        return collective.bytes_in
    return max(collective.bytes_in, collective.bytes_out)


def make_topology(
    gpu: Gpu | None, *, gpus_per_node: int, world_size: int, link: str | None = None,
    network_gbit_per_s: float | None = None,
) -> Topology:  # fmt: skip
    """Choose the links of a run: what was asked for, else what the GPU's row and its generation's systems have.

    Raises:
        UnknownLinkError: If ``link`` has no row.
        UsageError: If a rate makes no sense.
    """
    notes: list[str] = []
    inside = _inside(gpu, link, gpus_per_node, notes)
    port = link_row(next(name for at_least, name in _PORTS if _capability(gpu) >= at_least))
    rate = port.gb_per_s_per_direction * _NETWORK_SHARE
    if network_gbit_per_s is not None:
        if not 0 < network_gbit_per_s <= 1e6:
            raise UsageError(
                f"The network is {network_gbit_per_s:g} Gbit/s a GPU.", where="--network-gbit-s",
                fix="Pass what one GPU has to other nodes, in one direction, such as 400.",
            )  # fmt: skip
        rate = network_gbit_per_s / 8 * _NETWORK_SHARE
    elif world_size > gpus_per_node:
        notes.append(
            f"network between nodes: one {port.id} port a GPU ({port.gb_per_s_per_direction * 8:g} Gbit/s), as in the "
            "vendor's reference systems; --network-gbit-s says otherwise"
        )
    return Topology(
        gpus_per_node=gpus_per_node, inside=inside, network_gb_per_s=rate, network=port, assumptions=tuple(notes)
    )


def _inside(gpu: Gpu | None, link: str | None, gpus_per_node: int, notes: list[str]) -> Interconnect | None:
    if link is not None:
        return link_row(link)
    if gpu is None or gpus_per_node == 1:
        return None
    own = gpu.gpu_link
    if own is not None and not (_BRIDGE in own.name and gpus_per_node > 2):
        return _link_of(gpu, own)
    if gpu.host_link is None:
        return None
    found = link_row(gpu.host_link.name)
    why = f"the row of {gpu.id} has no link between GPUs" if own is None else "a bridge joins two of them only"
    notes.append(f"GPUs of a node talk over {found.id}: {why}")
    return found


def _link_of(gpu: Gpu, own: Link) -> Interconnect:
    """Return the row of a GPU's link; a bridge or a share of a link has its own rate and its generation's latencies."""
    try:
        return link_row(own.name)
    except UnknownLinkError:
        kind = next(name for at_least, name in _FAST_LINKS if _capability(gpu) >= at_least)
        row = link_row("xgmi-mi250x" if gpu.vendor == "AMD" else kind)
    share = own.gb_per_s_per_direction / row.gb_per_s_per_direction
    return replace(
        row, names=(own.name,), gb_per_s_per_direction=own.gb_per_s_per_direction,
        bus_gb_per_s=None if row.bus_gb_per_s is None else row.bus_gb_per_s * share,
    )  # fmt: skip


def _capability(gpu: Gpu | None) -> tuple[int, int]:
    return (0, 0) if gpu is None else gpu.compute_capability
