"""Peak memory against what PyTorch's profiler saw of the same real step.

(a) recorded live, (b) rehearsed on the virtual device set to imitate the CPU: both within 2 %.
"""

from __future__ import annotations

import pytest

from truth.cases import live_tape, training, virtual_tape, without_workspace
from truth.profiled import profiled_peak
from zoo.small import CASES

TOLERANCE = 0.02


@pytest.mark.parametrize("name", CASES)
def test_peak_is_what_the_profiler_saw(name: str) -> None:
    run = training(name)
    truth = profiled_peak(run).peak_bytes
    live = live_tape(run)
    assert live.memory().peak_bytes == pytest.approx(truth, rel=TOLERANCE)

    # What a recurrent kernel keeps for itself is left out on both sides.
    known = without_workspace(live).memory()
    virtual = virtual_tape(run, imitate_cpu=True).memory("cpu")
    assert virtual.peak_bytes == pytest.approx(known.peak_bytes, rel=TOLERANCE)
    assert live.memory().peak is not None
    assert virtual.peak is not None
    assert known.peak is not None
    for kind, size in known.peak.by_kind_bytes.items():
        near = pytest.approx(size, abs=TOLERANCE * known.peak_bytes)
        assert virtual.peak.by_kind_bytes[kind] == near, kind


@pytest.mark.parametrize("name", ["mlp_sgd", "resnet_adamw", "transformer_encoder_fp32"])
def test_gpu_and_cpu_agree_where_no_kernel_differs(name: str) -> None:
    live = live_tape(training(name)).memory().peak_bytes
    cuda = virtual_tape(training(name, "cuda"), imitate_cpu=False).memory().peak_bytes
    assert cuda == pytest.approx(live, rel=TOLERANCE)
