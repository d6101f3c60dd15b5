"""The groups of probes of a CPU, with the share of the time that each gets.

Shares follow what the steps of networks spend: convolutions and products of float32 first. The second type has fewer
probes: what it shares with the first need not be seen again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from trainworthy.calibrate.probes_products import attention_probes, bmm_probes, conv_probes, gemm_probes, rnn_probes
from trainworthy.calibrate.probes_streams import image_probes, layout_probes, list_probes, row_probes, stream_probes
from trainworthy.calibrate.schedule import Group

_FLOPS = 6e8  # of the largest probe


def cpu_groups() -> Iterator[Group]:
    """Yield the groups; all of them together take one to two minutes on two cores."""
    for dtype, name, few in ((torch.float32, "fp32", 1.0), (torch.bfloat16, "bf16", 0.4)):
        yield from _product_groups(dtype, name, few)
        yield Group(f"elementwise, {name}", 4 * few, stream_probes(device="cpu", dtype=dtype))
        yield Group(f"layouts, {name}", 2 * few, layout_probes(device="cpu", dtype=dtype))
        yield Group(f"rows, {name}", 2 * few, row_probes(device="cpu", dtype=dtype))
    yield Group("images", 2, image_probes(device="cpu", dtype=torch.float32))
    yield Group("recurrent layers", 2, rnn_probes(device="cpu", count=40))
    yield Group("optimizers", 1, list_probes(device="cpu"))


def _product_groups(dtype: torch.dtype, name: str, few: float) -> Iterator[Group]:
    gemms = gemm_probes(device="cpu", dtype=dtype, count=int(260 * few), largest_flops=_FLOPS)
    yield Group(f"matrix products, {name}", 6 * few, gemms)
    bmms = bmm_probes(device="cpu", dtype=dtype, count=int(90 * few), largest_flops=_FLOPS / 3)
    yield Group(f"batched products, {name}", 2 * few, bmms)
    for transposed, count, share in ((False, 500, 12), (True, 60, 2)):
        convs = conv_probes(
            device="cpu", dtype=dtype, count=int(count * few), largest_flops=_FLOPS, transposed=transposed
        )
        yield Group(f"{'transposed ' if transposed else ''}convolutions, {name}", share * few, convs)
    attention = attention_probes(device="cpu", dtype=dtype, count=int(50 * few), largest_flops=_FLOPS)
    yield Group(f"attention, {name}", 2 * few, attention)
