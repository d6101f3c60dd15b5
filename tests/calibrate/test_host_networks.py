"""Costs that chains say, held to what networks took."""

from __future__ import annotations

import pytest

from trainworthy.calibrate import host_networks
from trainworthy.calibrate.host_networks import Equation, HostNetworks, held_to_networks
from trainworthy.calibrate.networks_gpu import Network, networks

CHAINS = {
    "forward/addmm": 12e-6, "forward/view": 1e-6, "forward/relu": 8e-6, "backward/mm": 10e-6, "backward/once": 50e-6,
    "optimizer/foreach": 0.5e-6, "optimizer/once": 40e-6,
}  # fmt: skip
LAYERS = [
    {"forward/addmm": 10, "forward/view": 40}, {"forward/addmm": 5, "forward/relu": 30},
    {"forward/view": 60, "forward/relu": 10}, {"backward/mm": 20, "backward/once": 1},
    {"backward/mm": 70, "backward/once": 1}, {"optimizer/foreach": 50, "optimizer/once": 1},
]  # fmt: skip


def took(costs: dict[str, float]) -> list[Equation]:
    return [Equation(counts, sum(costs[name] * n for name, n in counts.items())) for counts in LAYERS]


def test_without_networks_chains_have_the_word() -> None:
    assert held_to_networks(CHAINS, []) == CHAINS


def test_networks_that_take_twice_as_long_double_everything() -> None:
    truth = {name: 2 * seconds for name, seconds in CHAINS.items()}
    assert held_to_networks(CHAINS, took(truth)) == pytest.approx(truth)


def test_one_operation_that_chains_misjudge_is_found() -> None:
    truth = {**CHAINS, "forward/relu": 16e-6}
    found = held_to_networks(CHAINS, took(truth))
    assert found["forward/relu"] == pytest.approx(16e-6, rel=0.1)
    assert found["forward/addmm"] == pytest.approx(12e-6, rel=0.1)
    assert found["backward/mm"] == pytest.approx(10e-6, rel=1e-6)
    for counts, seconds in took(truth):
        assert sum(found[name] * n for name, n in counts.items()) == pytest.approx(seconds, rel=0.05)


def test_an_operation_of_no_chain_starts_at_the_median_of_its_phase() -> None:
    network = Equation({"forward/addmm": 10, "forward/roll": 10}, 10 * 12e-6 + 10 * 30e-6)
    found = held_to_networks(CHAINS, [network])
    assert found["forward/roll"] > found["forward/view"]
    assert 10 * (found["forward/addmm"] + found["forward/roll"]) == pytest.approx(network.seconds, rel=0.02)


def test_no_cost_is_turned_around() -> None:
    """Noise can ask for a negative time."""
    noisy = [Equation({"forward/addmm": 10}, 12e-5), Equation({"forward/addmm": 10, "forward/view": 500}, 9e-5)]
    assert min(held_to_networks(CHAINS, noisy).values()) > 0


@pytest.mark.parametrize("network", list(networks()), ids=lambda network: network.name)
def test_every_network_trains_and_is_counted(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU kernels count too, so its seconds mean nothing here; what ran does."""
    monkeypatch.setattr(host_networks, "networks", lambda: iter([network]))
    seen = HostNetworks(device="cpu")
    assert not seen.equations()
    seen.sample()
    forward, backward, optimizer = seen.equations()
    assert all(name.startswith("forward/") for name in forward.counts)
    assert backward.counts["backward/once"] == optimizer.counts["optimizer/once"] == 1
    assert sum(backward.counts.values()) > 20
    assert min(forward.seconds, backward.seconds, optimizer.seconds) > 0
