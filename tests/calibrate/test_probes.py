"""Probes run and mean what they should; nothing is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
import torch

from trainworthy.calibrate.probe import probe_signature
from trainworthy.calibrate.probes_cpu import cpu_groups
from trainworthy.calibrate.probes_gpu import gpu_groups
from trainworthy.calibrate.probes_products import attention_probes, bmm_probes, conv_probes, gemm_probes, rnn_probes
from trainworthy.calibrate.probes_streams import image_probes, layout_probes, list_probes, row_probes, stream_probes
from trainworthy.estimate.op_features import place
from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu

FP32: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}
SMALL: dict[str, Any] = {**FP32, "count": 6, "largest_flops": 1e6}


@pytest.mark.parametrize(
    ("probes", "families"),
    [
        (lambda: gemm_probes(**SMALL), {"mm/fp32"}),
        (lambda: bmm_probes(**SMALL), {"bmm/fp32"}),
        (
            lambda: conv_probes(**{**SMALL, "largest_flops": 1e7}),
            {"conv/fp32", "conv_backward_input/fp32", "conv_backward_weight/fp32"},
        ),
        (lambda: attention_probes(**SMALL), {"attention/fp32", "attention_backward/fp32"}),
        (lambda: rnn_probes(device="cpu", count=1), {"mkldnn_rnn_layer/fp32", "mkldnn_rnn_layer_backward/fp32"}),
        (lambda: list_probes(device="cpu"), {"_fused_adamw_/fp32", "_foreach_add_/fp32"}),
        (lambda: stream_probes(**FP32, sizes=(16,)), {"add:plain/fp32", "gelu:plain/fp32", "bernoulli_:plain/fp32"}),
        (lambda: stream_probes(device="cpu", dtype=torch.bfloat16, sizes=(16,)), {"add:plain/bf16"}),
    ],
)
def test_each_probe_is_one_operation_of_its_family(probes: Callable[..., Iterator[Any]], families: set[str]) -> None:
    with torch.no_grad():
        found = {place(probe_signature(call)).family for call in probes()}
    assert families <= found


@pytest.mark.parametrize("probes", [layout_probes, row_probes, image_probes])
def test_the_first_of_the_larger_probes_run(probes: Callable[..., Iterator[Any]]) -> None:
    with torch.no_grad():
        for call, _ in zip(probes(**FP32), range(12), strict=False):
            probe_signature(call)


def test_each_probe_of_a_gpu_is_one_operation_of_a_known_family() -> None:
    families: set[str] = set()
    with VirtualGpu(gpu_row("h200-sxm-141gb")), torch.no_grad():
        for group in gpu_groups():
            families |= {place(probe_signature(call)).family for call in islice(group.calls, 40)}
    assert {
        "mm/fp32", "mm/bf16", "conv/bf16", "conv_backward_weight/bf16", "attention_backward/bf16", "add:plain/bf16",
        "native_layer_norm/fp32", "native_batch_norm/bf16", "native_batch_norm:last/fp16", "_cudnn_rnn/fp32",
        "native_batch_norm_backward/fp32", "max_pool2d_with_indices_backward:last/bf16", "_fused_adamw_/fp32",
    } <= families  # fmt: skip


def test_each_group_of_a_cpu_begins_with_a_probe_that_runs() -> None:
    groups = list(cpu_groups())
    assert len({group.name for group in groups}) == len(groups)
    with torch.no_grad():
        for group in groups:
            assert group.share > 0
            probe_signature(next(group.calls))


def test_a_probe_of_two_operations_is_a_bug() -> None:
    x = torch.ones(4)
    with pytest.raises(ValueError, match="one operation"):
        probe_signature(lambda: (x + 1) * 2)
