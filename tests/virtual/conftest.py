"""A virtual H100 for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu


@pytest.fixture
def gpu() -> Iterator[VirtualGpu]:
    """Run the test on a virtual H100."""
    with VirtualGpu(gpu_row("h100-sxm-80gb")) as virtual:
        yield virtual
