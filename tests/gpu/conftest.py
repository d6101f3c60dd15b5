"""Every test of this folder needs a CUDA device and is skipped, with the reason, where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the comparisons live in benchmarks/

from benchmarks.gpu import no_gpu, row_of  # noqa: E402


@pytest.fixture(scope="session")
def row() -> str | None:
    """Return the hardware row of the GPU at hand; None if there is none for it."""
    reason = no_gpu()
    if reason is not None:
        pytest.skip(reason)
    import torch

    return row_of(torch.cuda.get_device_name(0))
