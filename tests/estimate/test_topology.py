"""Every GPU that there is data for can be estimated, alone and with others."""

from __future__ import annotations

import pytest

from trainworthy.estimate.topology import make_topology
from trainworthy.hardware import gpu_row
from trainworthy.hardware.rows import gpu_rows


@pytest.mark.parametrize("gpus_per_node", [1, 2, 8])
@pytest.mark.parametrize("gpu", [*gpu_rows()])
def test_every_row_has_links(gpu: str, gpus_per_node: int) -> None:
    topology = make_topology(gpu_row(gpu), gpus_per_node=gpus_per_node, world_size=gpus_per_node)
    assert (topology.inside is None) == (gpus_per_node == 1)
    assert topology.network_gb_per_s > 0


def test_a_bridge_joins_two_cards_at_its_own_rate() -> None:
    two = make_topology(gpu_row("rtx-3090-24gb"), gpus_per_node=2, world_size=2).inside
    assert two is not None
    assert (two.id, two.gb_per_s_per_direction, two.bus_gb_per_s) == ("nvlink3", 56.25, 240 * 56.25 / 300)
    eight = make_topology(gpu_row("rtx-3090-24gb"), gpus_per_node=8, world_size=8)
    assert eight.inside is not None
    assert eight.inside.id == "pcie4-x16"
    assert "a bridge joins two of them only" in eight.assumptions[0]


def test_a_die_has_its_share_of_the_package() -> None:
    link = make_topology(gpu_row("mi250x-gcd-64gb"), gpus_per_node=8, world_size=8).inside
    assert link is not None
    assert (link.id, link.gb_per_s_per_direction) == ("xgmi-mi250x", 175)
