"""What is alive, and the most that was, in the allocator's units."""

from __future__ import annotations

import torch

from trainworthy.tape.build import RawOp
from trainworthy.tape.ledger import Ledger

OP = RawOp(0, 0, 0, 0, 0, (), ())


def test_storages_live_and_die_with_the_recording() -> None:
    ops: list[RawOp] = []
    ledger = Ledger(ops, granularity_bytes=512)
    first = torch.empty(100)  # 400 bytes
    record = ledger.open(first.untyped_storage(), "cpu", 0, "empty", 1)
    ops.append(OP)
    second = torch.empty(200)  # 800 bytes
    ledger.open(second.untyped_storage(), "cpu", 1, "empty", 1)
    assert ledger.of(first[:3]) is record
    assert ledger.allocated_bytes == {"cpu": 512 + 1024}
    ops.append(OP)
    del first
    assert (record.birth, record.death) == (0, 2)
    assert ledger.allocated_bytes == {"cpu": 1024}
    assert ledger.peak_bytes == {"cpu": 512 + 1024}
    assert list(ledger.live.values()) == ledger.records[1:]


def test_a_storage_that_is_resized_is_another_one_of_the_same_kind() -> None:
    ledger = Ledger([OP], granularity_bytes=1)
    tensor = torch.empty(8)
    record = ledger.open(tensor.untyped_storage(), "cpu", 0, "empty", 1)
    ledger.mark([tensor], "parameter")
    fresh = ledger.resize(record, 0, 2)
    assert (record.death, fresh.birth, fresh.kind, fresh.step) == (1, 1, "parameter", 2)
    assert ledger.allocated_bytes == {"cpu": 0}
    assert ledger.of(tensor) is fresh
    del tensor
    assert fresh.death == 1
    assert not ledger.live


def test_a_kind_that_is_known_stays_unless_it_is_to_be_overwritten() -> None:
    ledger = Ledger([], granularity_bytes=1)
    tensor = torch.empty(2)
    ledger.open(tensor.untyped_storage(), "cpu", 0, "empty", 0)
    kinds: list[str | None] = []
    for kind, overwrite in (("input", False), ("gradient", False), ("gradient", True)):
        ledger.mark([tensor, "no tensor"], kind, overwrite=overwrite)  # type: ignore[arg-type]
        kinds.append(ledger.records[0].kind)
    ledger.mark_where(lambda one: True, "activation")
    assert [*kinds, ledger.records[0].kind] == ["input", "input", "gradient", "gradient"]
