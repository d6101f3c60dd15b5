"""Time of collectives on nodes that are joined by a network: latency, plus bytes over the narrowest part of the ring.

Fitted and checked with measured all-reduce times of A100 and V100 nodes (`benchmarks.published_runs`).
"""

from __future__ import annotations

from dataclasses import dataclass

from trainworthy.formulas.collective_times import bus_bandwidth_factor, collective_steps
from trainworthy.formulas.collectives import Kind

# Fit to vTrain's all-reduce measurements on 2, 4 and 8 A100 (NCCL, 1 MiB to 1 GiB): intercept 62, 59 and 105 us, slope
# 200, 224 and 232 GB/s of NVLink's 300. NCCL's own plan (torch 2.13, _inductor/comm_analysis.py) is 240 GB/s.
_LAUNCH_S = 36e-6
_INSIDE_STEP_S = 4.4e-6
# A message to another node: NCCL's tuning has 14 us for Simple and 2.7 for LL (FACTS of links/*.toml); between them, as
# NCCL takes the faster protocol.
_BETWEEN_STEP_S = 9e-6
_INSIDE_SHARE = 0.775
"""Bus bandwidth / link rate of a ring inside a node: 232.5 of 300 GB/s."""
_PAIR_SHARE = 0.667
"""The same for two ranks, which have one ring in each direction: 200 of 300 GB/s."""
_BETWEEN_SHARE = 0.85
"""Bus bandwidth / rate of the network ports: nccl-tests on HDR and NDR fabrics reach 80 to 95 %."""
_MESH_SHARES = ((2, 0.150), (4, 0.568), (8, 0.897))
"""Bus bandwidth / rate of all links together in the cube mesh of 8 V100, by ranks: 22.5, 85.2 and 134.5 of 150 GB/s in
vTrain's measurements. Two neighbours share one or two of six links; eight use them all."""
_HOST_SHARE = 0.65
"""Bus bandwidth / rate of the PCIe ports where a ring leaves the fast link but not the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Where ranks sit: ``domain`` consecutive ranks share the fast link; beyond, each has a port of the network.

    A node may hold several such domains, joined by the host's PCIe (``node`` > ``domain``), or the fast link may join
    more than a node.
    """

    domain: int
    inside_gb_per_s: float
    """Rate of one GPU's link to its neighbours, one direction."""
    between_gb_per_s: float
    """Rate of one GPU's share of the network, one direction."""
    node: int = 0
    """GPUs of a node where that is more than ``domain``; 0: no more."""
    host_gb_per_s: float = 24.0
    """Rate of one GPU's PCIe port."""
    switched: bool = True
    """Whether a switch gives every pair the full rate; without one, links are split between neighbours."""

    def ranks_inside(self, *, ranks: int, stride: int) -> int:
        """Count the ranks of a group that share a node: ranks of a group are ``stride`` apart.

        >>> Topology(domain=8, inside_gb_per_s=300, between_gb_per_s=25).ranks_inside(ranks=16, stride=2)
        4
        """
        return max(1, min(ranks, self.domain // max(1, stride)))


def collective_s(
    *, kind: Kind, payload_bytes: float, ranks: int, topology: Topology, stride: int = 1
) -> float:  # fmt: skip
    """Compute the time of one collective of a group.

    Inside a node a ring runs at the link's bus bandwidth; over nodes at what all ports of the group's ranks in a node
    carry together, if that is less. All-to-all sends what leaves the node over each rank's own port.

    Unit:     s
    Exact?    a model: see the module's docstring for the measured error; no congestion between groups, no trees
    Source:   alpha-beta model in nccl-tests' terms, see `trainworthy.formulas.collective_times`

    >>> a100 = Topology(domain=8, inside_gb_per_s=300, between_gb_per_s=25)
    >>> round(collective_s(kind="all_reduce", payload_bytes=2**30, ranks=8, topology=a100) * 1e3, 2)
    8.18
    """
    if ranks <= 1 or payload_bytes <= 0:
        return 0.0
    inside = topology.ranks_inside(ranks=ranks, stride=stride)
    if kind == "send_recv":
        return _message_s(payload_bytes, topology, inside=inside > 1)
    groups = -(-ranks // inside)
    latency = _LAUNCH_S + _latency_steps(kind, inside) * _INSIDE_STEP_S
    if groups > 1:
        # NCCL goes over to trees where rings get long: depth, not length, then counts.
        latency += min(_latency_steps(kind, groups), 2 * groups.bit_length() + 8) * _BETWEEN_STEP_S
    if kind == "all_to_all":
        return latency + _all_to_all_s(payload_bytes, ranks, inside, topology)
    bus = _bus_gb_per_s(ranks, stride, topology)
    return latency + payload_bytes * bus_bandwidth_factor(kind=kind, ranks=ranks) / (bus * 1e9)


def message_s(*, payload_bytes: float, topology: Topology, stride: int) -> float:
    """Compute the time of one message to the rank ``stride`` further on: pipeline stages send them.

    Unit:     s
    Exact?    as `collective_s`
    Source:   as `collective_s`
    """
    return _message_s(payload_bytes, topology, inside=stride < topology.domain)


def _message_s(payload_bytes: float, topology: Topology, *, inside: bool) -> float:
    rate = topology.inside_gb_per_s * _PAIR_SHARE if inside else topology.between_gb_per_s * _BETWEEN_SHARE
    step = _INSIDE_STEP_S if inside else _BETWEEN_STEP_S
    return _LAUNCH_S / 2 + step + payload_bytes / (rate * 1e9)


def _latency_steps(kind: Kind, ranks: int) -> int:
    return collective_steps(kind=kind, ranks=ranks) if ranks > 1 else 0


def _bus_gb_per_s(ranks: int, stride: int, topology: Topology) -> float:
    """The narrowest part of the ring: the fast link, PCIe between fast groups of a node, or the network ports."""
    inside = topology.ranks_inside(ranks=ranks, stride=stride)
    in_node = max(inside, min(ranks, topology.node // max(1, stride)))
    rates = []
    if inside > 1:
        rates.append(topology.inside_gb_per_s * _inside_share(inside, topology))
    if in_node > inside:
        rates.append(topology.host_gb_per_s * inside * _HOST_SHARE)
    if ranks > in_node:
        rates.append(topology.between_gb_per_s * in_node * _BETWEEN_SHARE)
    return min(rates)


def _inside_share(inside: int, topology: Topology) -> float:
    if not topology.switched:
        return next((share for ranks, share in _MESH_SHARES if inside <= ranks), _MESH_SHARES[-1][1])
    return _PAIR_SHARE if inside == 2 else _INSIDE_SHARE


def _all_to_all_s(payload_bytes: float, ranks: int, inside: int, topology: Topology) -> float:
    near = payload_bytes * (inside - 1) / ranks / (topology.inside_gb_per_s * _INSIDE_SHARE * 1e9)
    far = payload_bytes * (ranks - inside) / ranks / (topology.between_gb_per_s * _BETWEEN_SHARE * 1e9)
    return max(near, far)
