"""The ledger of storages: when each came alive, how large it is, what it is for and when it died."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from trainworthy.tape.build import RawOp, StorageRecord
from trainworthy.tape.flops import sparse_parts
from trainworthy.tape.operators import is_wrapper, plain_tensors
from trainworthy.tape.record import Kind


class _Death(weakref.ref):  # type: ignore[type-arg]
    """Weak reference to a storage that knows its record."""

    __slots__ = ("key", "record")
    record: StorageRecord
    key: int


class Ledger:
    """One record for each storage, closed when the storage dies.

    ``ops`` is the recording, which tells the time: births and deaths are its lengths. ``allocated_bytes`` and
    ``peak_bytes`` hold, for each device, what is alive now and the most that was, in units of ``granularity_bytes``.
    ``live`` finds the record of a storage that is alive by its address.
    """

    def __init__(self, ops: list[RawOp], granularity_bytes: int) -> None:
        self.records: list[StorageRecord] = []
        self.live: dict[int, StorageRecord] = {}
        self.allocated_bytes: dict[str, int] = {}
        self.peak_bytes: dict[str, int] = {}
        self.granularity_bytes = granularity_bytes
        self._ops = ops

    def of(self, tensor: torch.Tensor) -> StorageRecord | None:
        """Return the record of a strided tensor's storage."""
        return self.live.get(tensor.untyped_storage()._cdata)

    def open(self, storage: torch.UntypedStorage, device: str, birth: int, origin: str, step: int) -> StorageRecord:
        """Begin the record of a storage."""
        size = storage.nbytes()
        record = StorageRecord(len(self.records), size, device, birth, origin)
        record.step = step
        self.records.append(record)
        key = storage._cdata
        ref = _Death(storage, self._died)
        ref.record, ref.key = record, key
        record.ref = ref
        self.live[key] = record
        self._count(device, self._rounded(size))
        return record

    def resize(self, record: StorageRecord, size_bytes: int, step: int) -> StorageRecord:
        """Follow a storage that gets other memory: FSDP frees its by resizing to 0, and takes it back so."""
        ref = record.ref
        self._close(record)
        fresh = StorageRecord(len(self.records), size_bytes, record.device, len(self._ops), record.origin)
        fresh.kind, fresh.step, fresh.phase = record.kind, step, record.phase
        fresh.source, fresh.module = record.source, record.module
        self.records.append(fresh)
        ref.record, fresh.ref = fresh, ref
        self.live[ref.key] = fresh
        self._count(fresh.device, self._rounded(size_bytes))
        return fresh

    def mark(self, tensors: Iterable[Any], kind: Kind, *, overwrite: bool = False) -> None:
        """Say what the storages of ``tensors`` are, unless that is known already."""
        for tensor in tensors:
            if not isinstance(tensor, torch.Tensor):
                continue
            if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or is_lazy(tensor):
                continue  # these have no storage
            if is_wrapper(type(tensor)):
                self.mark(plain_tensors(tensor), kind, overwrite=overwrite)
                continue
            if tensor.layout is not torch.strided:
                self.mark(sparse_parts(tensor), kind, overwrite=overwrite)
                continue
            record = self.of(tensor)
            if record is not None and (record.kind is None or overwrite):
                record.kind = kind

    def mark_where(self, fits: Callable[[StorageRecord], bool], kind: Kind) -> None:
        """Say what those storages are that are alive, of no known kind, and fit."""
        for record in list(self.live.values()):  # a storage may die meanwhile
            if record.kind is None and fits(record):
                record.kind = kind

    def _close(self, record: StorageRecord) -> None:
        record.death = len(self._ops)
        record.ref = None
        self._count(record.device, -self._rounded(record.size_bytes))

    def _died(self, ref: _Death) -> None:
        record = ref.record
        self._close(record)
        if self.live.get(ref.key) is record:
            del self.live[ref.key]

    def _rounded(self, size_bytes: int) -> int:
        unit = self.granularity_bytes
        return -(-size_bytes // unit) * unit

    def _count(self, device: str, change_bytes: int) -> None:
        total = self.allocated_bytes.get(device, 0) + change_bytes
        self.allocated_bytes[device] = total
        if total > self.peak_bytes.get(device, 0):
            self.peak_bytes[device] = total
