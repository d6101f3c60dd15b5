"""The host's time by operation: what chains say is taken apart."""

from __future__ import annotations

import math

import pytest

from trainworthy.calibrate.host_gpu import _chains, gpu_host_costs, solve
from trainworthy.calibrate.host_networks import Equation
from trainworthy.estimate.host_costs import host_key, host_units, issue_s
from trainworthy.hardware.calibration import HostCosts
from trainworthy.tape.record import Signature, TensorMeta


def meta(*shape: int) -> TensorMeta:
    stride = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    return TensorMeta(shape, stride, "float32", "cuda:0")


def test_solve_finds_what_each_operation_takes() -> None:
    truth = {"forward/addmm": 30e-6, "forward/view": 2e-6, "forward/relu": 20e-6, "backward/mm": 25e-6}
    links = [{"forward/addmm": 18}, {"forward/addmm": 18, "forward/view": 36}, {"forward/relu": 18, "forward/view": 18}]
    links += [{"forward/view": 72}, {"backward/mm": 36}]
    found = solve([Equation(counts, sum(truth[name] * n for name, n in counts.items())) for counts in links])
    assert found.keys() == truth.keys()
    for name, seconds in truth.items():
        assert found[name] == pytest.approx(seconds, rel=0.15), name


def test_operations_that_always_come_together_share_their_time() -> None:
    found = solve([Equation({"forward/native_batch_norm": 10, "forward/add_": 10}, 1e-3)])
    assert found["forward/add_"] == pytest.approx(found["forward/native_batch_norm"]) == pytest.approx(5e-5)


def test_no_operation_is_free() -> None:
    found = solve([Equation({"forward/a": 10}, 1e-3), Equation({"forward/a": 10, "forward/b": 10}, 0.8e-3)])
    assert found["forward/b"] > 0


def test_convolutions_by_their_kernels() -> None:
    x = meta(4, 32, 28, 28)
    keys = {
        "convolution": meta(32, 32, 3, 3), "convolution pointwise": meta(32, 32, 1, 1),
        "convolution depthwise": meta(32, 1, 3, 3),
    }  # fmt: skip
    for key, weight in keys.items():
        assert host_key(Signature("convolution", (x, weight), (x,), 0, 0, 0, 0)) == key
        back = Signature("convolution_backward", (x, x, weight), (x,), 0, 0, 0, 0)
        assert host_key(back) == key.replace("convolution", "convolution_backward")
    assert host_key(Signature("view", (x,), (x,), 0, 0, 0, 0)) == "view"


def test_what_a_calibration_knows_comes_first() -> None:
    x = meta(8, 8)
    host = HostCosts(
        forward_op_s=1e-6, backward_op_s=2e-6, optimizer_op_s=3e-6, view_s=4e-6,
        by_op={"forward/convolution": 5e-5, "backward/mm": 6e-5, "optimizer/foreach": 1e-6, "forward/view": 7e-6},
    )  # fmt: skip

    def seconds(name: str, phase: str, *inputs: TensorMeta) -> float:
        signature = Signature(name, inputs or (x,), (x,), 0, 0, 0, 0)
        return issue_s(signature, host=host, phase=phase)  # type: ignore[arg-type]

    image = meta(4, 32, 28, 28)
    assert seconds("convolution", "forward", image, meta(32, 32, 1, 1)) == 5e-5  # no pointwise one was measured
    assert seconds("mm", "backward") == 6e-5
    assert seconds("mm", "forward") == 1e-6
    assert seconds("relu", "backward") == 2e-6
    assert seconds("_foreach_mul_", "optimizer", *[x] * 12) == 12e-6
    assert seconds("_fused_adamw_", "optimizer", *[x] * 12) == 3e-6
    assert seconds("view", "forward") == 7e-6
    assert seconds("view", "backward") == 4e-6


def test_an_rnn_launches_for_each_step_of_each_layer() -> None:
    weight, buffer = meta(4096, 512), meta(100)
    state = meta(2, 64, 1024)
    batch_first, steps_first = meta(64, 128, 512), meta(128, 64, 512)
    for x in (batch_first, steps_first):
        assert host_units(Signature("_cudnn_rnn", (x, weight, buffer, state), (x,), 0, 0, 0, 0)) == 2 * 128
    assert host_units(Signature("_foreach_addcmul_", (weight,) * 15, (), 0, 0, 0, 0)) == 15
    assert host_units(Signature("addmm", (weight,) * 3, (), 0, 0, 0, 0)) == 1


def test_chains_run_and_every_operation_costs_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the kernels count too, so the figures mean nothing here; that they are there does."""
    few = [chain for place, chain in enumerate(_chains()) if place in {0, 2, 14, 15}]
    monkeypatch.setattr("trainworthy.calibrate.host_gpu._chains", lambda: iter(few))
    found = gpu_host_costs(device="cpu")
    names = found.by_op.keys()
    assert {"forward/addmm", "forward/convolution pointwise", "backward/mm", "optimizer/foreach"} <= names
    assert {"optimizer/fused", "backward/view"} <= names
    assert all(seconds > 0 for seconds in found.by_op.values())
    assert min(found.forward_op_s, found.backward_op_s, found.view_s) > 0
