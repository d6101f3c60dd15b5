"""Collectives on the virtual cluster: nothing is sent; results have the true shapes.

Values, where they are known, follow one assumption: every other rank holds the same as this one. A sum over N ranks
is then N times the own value, a gathered list holds the own value N times, a broadcast changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from trainworthy.tape.collectives import bound, group_of, is_wait, nested_tensors, reduce_op_of
from trainworthy.virtual import values
from trainworthy.virtual.mailbox import MAX_BYTES, UNKNOWN
from trainworthy.virtual.tensors import raw_is_meta

if TYPE_CHECKING:
    from trainworthy.virtual.device import VirtualDevice

_MAX_FLOAT_MESSAGE_BYTES = 64
_ASSUMED = "every other rank is taken to hold the same values as this one (collectives on known values)"


class VirtualWork(dist.Work):
    """The handle of a collective: it is done already; ``on_wait`` is called once, when it is first waited for."""

    last: VirtualWork | None = None  # the one made last, for who recorded the collective

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self._tensors = tensors
        self.on_wait: Callable[[], None] | None = None
        _PENDING[id(self)] = self  # C++ alone would keep the base class, without these methods
        VirtualWork.last = self

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Note that the stream waits."""
        self._done()
        return True

    def _done(self) -> None:
        _PENDING.pop(id(self), None)
        if self.on_wait is not None:
            on_wait, self.on_wait = self.on_wait, None
            on_wait()

    def synchronize(self) -> None:
        """Wait."""
        self._done()

    def block_current_stream(self) -> None:
        """Let the stream wait, not the host."""
        self._done()

    def is_completed(self) -> bool:
        """Tell that it is done."""
        return True

    def is_success(self) -> bool:
        """Tell that it went well."""
        return True

    def exception(self) -> Any:
        """Return no error."""
        return None

    def result(self) -> list[torch.Tensor]:
        """Return the results."""
        return self._tensors

    def source_rank(self) -> int:
        """Return who sent, for a receive from any rank: unknown, so rank 0."""
        return 0

    def get_future(self) -> Any:
        """Return a future that holds the results; it keeps the handle, which nobody else may ever wait for."""
        _PENDING.pop(id(self), None)
        return _Future(self)


class _Future(torch.futures.Future):  # type: ignore[type-arg]
    """The results of a collective; waiting for it waits for the handle."""

    def __init__(self, work: VirtualWork) -> None:
        super().__init__()
        self._work = work
        self.set_result(work.result())

    def wait(self) -> Any:
        """Wait for the collective and return its results."""
        self._work.wait()
        return super().wait()


_PENDING: dict[int, VirtualWork] = {}


def communicate(device: VirtualDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer an operator of ``c10d`` or ``_c10d_functional``."""
    if is_wait(func):
        return args[0]
    name = func._schema.name.split("::")[-1]
    arguments = bound(func, args, kwargs)
    group = group_of(arguments)
    if func.namespace == "_c10d_functional":
        return _functional(device, func, name, args, kwargs, arguments, group)
    tensors = _C10D[name](device, arguments, group) if name in _C10D else []
    return _returned(func, args, tensors)


def _returned(func: Any, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> Any:
    """Return what the schema says: nothing, a handle, or the results and a handle."""
    returns = func._schema.returns
    if not returns:
        return None
    work = VirtualWork(tensors).boxed()
    if len(returns) == 1:
        return work
    return args[0], work


# --- values -------------------------------------------------------------------------------------------------------


def _known(tensor: torch.Tensor) -> torch.Tensor | None:
    if not raw_is_meta(tensor):
        return tensor.detach()
    return values.shadow_of(tensor)


def _write(device: VirtualDevice, target: torch.Tensor, value: torch.Tensor | None) -> None:
    """Give ``target`` the values that a collective brings; None: they are unknown."""
    if raw_is_meta(target):
        values.drop_shadow(target)
        if value is not None and value.shape == target.shape and values.small_enough(target):
            values.set_shadow(target, value.to(target.dtype).clone())
        return
    if value is not None and value.numel() == target.numel():
        device.assume(_ASSUMED)
        with torch.no_grad(), torch._C._DisableTorchDispatch():
            target.detach().copy_(value.reshape(target.shape))


def _reduced(value: torch.Tensor | None, op: str | None, ranks: int) -> torch.Tensor | None:
    """Reduce N equal values."""
    if value is None or op in {None, "avg", "min", "max", "band", "bor"}:
        return value
    with torch._C._DisableTorchDispatch():
        if op == "sum":
            return value * ranks
        if op == "product":
            return value**ranks
    return None


def _part(value: torch.Tensor | None, index: int, count: int) -> torch.Tensor | None:
    if value is None or not value.dim() or value.shape[0] % count:
        return None
    with torch._C._DisableTorchDispatch():
        return value.chunk(count, 0)[index]


# --- c10d: results are written into tensors that the caller made --------------------------------------------------


def _all_reduce(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    tensors = nested_tensors(a["tensors"])
    for tensor in tensors:
        _write(device, tensor, _reduced(_known(tensor), reduce_op_of(a), group.size()))
    return tensors


def _unchanged(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    """Broadcast, reduce to a root: the own tensor stays as it is."""
    return nested_tensors(a["tensors"])


def _sent(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    """Pass small values on to the rank that they are sent to, if it is rehearsed too."""
    tensors = nested_tensors(a["tensors"])
    if device.mailbox is not None:
        receiver = dist.get_process_group_ranks(group)[a["dst"]]
        for tensor in filter(_is_message, tensors):
            device.mailbox.put(f"p2p-{a['tag']}", receiver, _bytes_of(_known(tensor)))
    return tensors


def _received(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    tensors = nested_tensors(a["tensors"])
    for tensor in tensors:
        content = None
        if device.mailbox is not None and "src" in a and _is_message(tensor):
            content = device.mailbox.take(f"p2p-{a['tag']}", dist.get_process_group_ranks(group)[a["src"]])
        if content is not None:
            with torch._C._DisableTorchDispatch():
                value = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(tensor.dtype)
                value = value.reshape(tensor.shape)
            _write(device, tensor, value)
        elif raw_is_meta(tensor):
            values.drop_shadow(tensor)
        else:
            device.assume("values received from another rank are unknown: the tensor keeps its own")
    return tensors


def _is_message(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is small enough to steer a script, on the side of sender and receiver alike."""
    whole = not (tensor.dtype.is_floating_point or tensor.dtype.is_complex)
    return 0 < tensor.numel() * tensor.element_size() <= (MAX_BYTES if whole else _MAX_FLOAT_MESSAGE_BYTES)


def _bytes_of(value: torch.Tensor | None) -> bytes:
    if value is None:
        return UNKNOWN
    with torch._C._DisableTorchDispatch():
        flat = value.detach().contiguous().reshape(-1).view(torch.uint8)
        return bytes(flat.tolist())


def _all_gather(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    """Fill lists of one tensor a rank, or one tensor for all, with the own value."""
    sources = nested_tensors(a.get("input_tensors", a.get("input_tensor", a.get("inputs", a.get("input_list")))))
    targets: Any = a.get("output_tensors", a.get("output_tensor", a.get("outputs", a.get("output_lists"))))
    targets = [targets] if isinstance(targets, torch.Tensor) else targets
    for source, target in zip(sources, targets, strict=False):
        known = _known(source)
        if isinstance(target, torch.Tensor):
            _write(device, target, _repeated(known, target, group.size()))
        else:
            for each in target:
                _write(device, each, known)
    return nested_tensors(targets)


def _repeated(value: torch.Tensor | None, like: torch.Tensor, ranks: int) -> torch.Tensor | None:
    if value is None or value.numel() * ranks != like.numel() or like.numel() > 1 << 20:
        return None
    with torch._C._DisableTorchDispatch():
        return torch.cat([value.reshape(-1)] * ranks).reshape(like.shape)


def _reduce_scatter(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    """Keep the own part of the input, reduced."""
    targets = nested_tensors(a.get("output_tensors", a.get("output_tensor", a.get("outputs"))))
    sources: Any = a.get("input_tensors", a.get("input_tensor", a.get("inputs")))
    sources = [sources] if isinstance(sources, torch.Tensor) else sources
    rank, size, op = group.rank(), group.size(), reduce_op_of(a)
    for source, target in zip(sources, targets, strict=False):
        own = _part(_known(source), rank, size) if isinstance(source, torch.Tensor) else _known(source[rank])
        _write(device, target, _reduced(own, op, size))
    return targets


def _all_to_all(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    """Every rank sends this one the part that the own input has for the own rank."""
    if "output" in a:
        target, source = a["output"], a["input"]
        part = _part(_known(source), group.rank(), group.size())
        _write(device, target, _repeated(part, target, group.size()))
        return [target]
    targets, sources = nested_tensors(a["output_tensors"]), nested_tensors(a["input_tensors"])
    for target in targets:
        _write(device, target, _known(sources[group.rank()]))
    return targets


def _gather(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    source = nested_tensors(a["input_tensors"])[0]
    targets = nested_tensors(a["output_tensors"])
    for target in targets:
        _write(device, target, _known(source))
    return targets


def _scatter(device: VirtualDevice, a: dict[str, Any], group: Any) -> list[torch.Tensor]:
    targets = nested_tensors(a["output_tensors"])
    if group.rank() == a["root_rank"]:
        _write(device, targets[0], _known(nested_tensors(a["input_tensors"])[group.rank()]))
    elif raw_is_meta(targets[0]):
        values.drop_shadow(targets[0])
    return targets


_C10D: dict[str, Callable[[Any, dict[str, Any], Any], list[torch.Tensor]]] = {
    "allreduce_": _all_reduce, "allreduce_coalesced_": _all_reduce, "broadcast_": _unchanged, "reduce_": _unchanged,
    "send": _sent, "recv_": _received, "recv_any_source_": _received, "allgather_": _all_gather,
    "_allgather_base_": _all_gather, "allgather_coalesced_": _all_gather,
    "allgather_into_tensor_coalesced_": _all_gather, "reduce_scatter_": _reduce_scatter,
    "_reduce_scatter_base_": _reduce_scatter, "reduce_scatter_tensor_coalesced_": _reduce_scatter,
    "alltoall_": _all_to_all, "alltoall_base_": _all_to_all, "gather_": _gather, "scatter_": _scatter,
}  # fmt: skip


# --- the functional API: results are new ---------------------------------------------------------------------------


def _functional(
    device: VirtualDevice, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any],
    a: dict[str, Any], group: Any,
) -> Any:  # fmt: skip
    """Make results with the shapes of torch's meta kernels; in-place forms return their argument."""
    sources = nested_tensors(a.get("input", a.get("inputs", a.get("tensor", a.get("tensors")))))
    if any(raw_is_meta(t) for t in sources) or not sources:
        out = device.plain(func, args, kwargs)
    else:
        with torch._C._DisableTorchDispatch():
            meta = device.meta_of(func, args, kwargs)
            out = _mapped(meta, lambda t: torch.zeros(t.shape, dtype=t.dtype)) if not name.endswith("_") else args[0]
    size, rank, op = group.size(), group.rank(), reduce_op_of(a)
    for source, target in zip(sources, nested_tensors(out), strict=False):
        known = _known(source)
        if name.startswith("all_reduce"):
            known = _reduced(known, op, size)
        elif name.startswith("all_gather"):
            known = _repeated(known, target, size)
        elif name.startswith("reduce_scatter"):
            known = _reduced(_part(known, rank, size), op, size)
        elif name.startswith("all_to_all"):
            known = _repeated(_part(known, rank, size), target, size)
        elif name == "irecv":
            known = None
        if target is not source or name.startswith("all_reduce"):
            _write(device, target, known)
    return out


def _mapped(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, function) for v in value)
    return value
