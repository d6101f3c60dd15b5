"""Parameters and multiply-adds of well-known image models, from the tape, are the published ones."""

from __future__ import annotations

import pytest
import torch

from trainworthy.virtual.gpu import VirtualGpu
from zoo.published import MODELS, Published


@pytest.mark.parametrize("row", MODELS, ids=[row.name for row in MODELS])
def test_sizes_from_the_tape(row: Published) -> None:
    with VirtualGpu() as gpu:
        model = row.build().cuda().eval()
        with torch.no_grad():
            model(torch.empty(1, *row.input_size, device="cuda"))
    tape = gpu.tape()
    flops = [op.flops for op in tape.ops]
    assert None not in flops
    assert sum(f for f in flops if f) == 2 * row.macs
    assert sum(info.count * info.parameters for info in tape.model) == row.parameters


def test_there_are_at_least_twenty() -> None:
    assert sum(row.gmacs is not None for row in MODELS) >= 20
