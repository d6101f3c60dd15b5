from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from trainworthy.errors import HardwareRowError
from trainworthy.hardware import gpu_rows
from trainworthy.hardware.architecture import architecture_from_toml

TABLE: dict[str, Any] = {
    "name": "Hopper",
    "compute_capability": "9.0",
    "max_threads_per_sm": 2048,
    "registers_per_sm": 65_536,
    "shared_memory_per_block_bytes": 49_152,
    "shared_memory_per_block_optin_bytes": 232_448,
    "shared_memory_per_sm_bytes": 233_472,
    "warp_size": 32,
    "context": {"low_bytes": 1, "expected_bytes": 2, "high_bytes": 3, "source": "here"},
}


def test_an_architecture_is_read() -> None:
    assert architecture_from_toml(TABLE, where="x").compute_capability == (9, 0)


@pytest.mark.parametrize("field", sorted(TABLE))
def test_a_missing_field_is_refused(field: str) -> None:
    table = {name: value for name, value in TABLE.items() if name != field}
    with pytest.raises(HardwareRowError, match=field):
        architecture_from_toml(table, where="x")


def test_a_range_must_be_ordered() -> None:
    table = deepcopy(TABLE)
    table["context"]["expected_bytes"] = 4
    with pytest.raises(HardwareRowError, match="low <= expected <= high"):
        architecture_from_toml(table, where="x")


def test_shared_memory_limits_are_ordered() -> None:
    for architecture in {gpu.architecture for gpu in gpu_rows().values()}:
        assert architecture.shared_memory_per_block_bytes <= architecture.shared_memory_per_block_optin_bytes
        assert architecture.shared_memory_per_block_optin_bytes <= architecture.shared_memory_per_sm_bytes
        assert architecture.context.source
