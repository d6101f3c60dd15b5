"""What an operator of ``torch.distributed`` communicates: kind, group, tensors, bytes.

Every collective of Python, C++ (DDP's reducer) and of the functional API passes the dispatcher as an operator of the
namespaces ``c10d`` and ``_c10d_functional``, on real and on virtual process groups alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from trainworthy.tape.record import Collective, CollectiveKind, ProcessGroup

NAMESPACES = frozenset({"c10d", "_c10d_functional"})

# Operator -> kind, the arguments that hold what the rank puts in, those that hold the result ("": what is returned).
_KINDS: dict[str, tuple[CollectiveKind, str, str]] = {
    "allreduce_": ("all_reduce", "tensors", "tensors"),
    "allreduce_coalesced_": ("all_reduce", "tensors", "tensors"),
    "broadcast_": ("broadcast", "tensors", "tensors"),
    "reduce_": ("reduce", "tensors", "tensors"),
    "allgather_": ("all_gather", "input_tensors", "output_tensors"),
    "_allgather_base_": ("all_gather", "input_tensor", "output_tensor"),
    "allgather_coalesced_": ("all_gather", "input_list", "output_lists"),
    "allgather_into_tensor_coalesced_": ("all_gather", "inputs", "outputs"),
    "reduce_scatter_": ("reduce_scatter", "input_tensors", "output_tensors"),
    "_reduce_scatter_base_": ("reduce_scatter", "input_tensor", "output_tensor"),
    "reduce_scatter_tensor_coalesced_": ("reduce_scatter", "inputs", "outputs"),
    "alltoall_": ("all_to_all", "input_tensors", "output_tensors"),
    "alltoall_base_": ("all_to_all", "input", "output"),
    "gather_": ("gather", "input_tensors", "output_tensors"),
    "scatter_": ("scatter", "input_tensors", "output_tensors"),
    "send": ("send", "tensors", "nothing"),
    "recv_": ("recv", "nothing", "tensors"),
    "recv_any_source_": ("recv", "nothing", "tensors"),
    "barrier": ("barrier", "nothing", "nothing"),
    "monitored_barrier_": ("barrier", "nothing", "nothing"),
    "all_reduce": ("all_reduce", "input", ""),
    "all_reduce_": ("all_reduce", "input", "input"),
    "all_reduce_coalesced": ("all_reduce", "inputs", ""),
    "all_reduce_coalesced_": ("all_reduce", "inputs", "inputs"),
    "broadcast": ("broadcast", "input", ""),
    "all_gather_into_tensor": ("all_gather", "input", ""),
    "all_gather_into_tensor_out": ("all_gather", "input", "out"),
    "all_gather_into_tensor_coalesced": ("all_gather", "inputs", ""),
    "reduce_scatter_tensor": ("reduce_scatter", "input", ""),
    "reduce_scatter_tensor_out": ("reduce_scatter", "input", "out"),
    "reduce_scatter_tensor_coalesced": ("reduce_scatter", "inputs", ""),
    "all_to_all_single": ("all_to_all", "input", ""),
    "isend": ("send", "tensor", "nothing"),
    "irecv": ("recv", "nothing", "tensor"),
}
# torch/csrc/distributed/c10d/Types.hpp: ReduceOp::RedOpType
_REDUCE_OPS = ("sum", "avg", "product", "min", "max", "band", "bor", "bxor", "premul_sum")
_ROOTS = ("root_rank", "src", "dst")
# Operators of one name in both namespaces: the functional broadcast_ has "input" where c10d has "tensors".
_FUNCTIONAL_ONLY = {"broadcast_": ("broadcast", "input", "input")}


class Communication(NamedTuple):
    """One call: what the tape keeps of it, and the tensors that take part."""

    collective: Collective
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


class GroupTable:
    """The process groups seen so far, in the order in which they were."""

    def __init__(self) -> None:
        self.groups: list[ProcessGroup] = []
        self._numbers: dict[str, int] = {}

    def number(self, group: Any) -> int:
        """Return the place of a process group in the table."""
        name = str(group.group_name)
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.groups)
            self.groups.append(_described(group))
        return number


def _described(group: Any) -> ProcessGroup:
    from torch import distributed

    ranks = tuple(distributed.get_process_group_ranks(group))
    label = str(getattr(group, "group_desc", "") or "")
    if label == "default_pg":
        label = "world"
    elif label.startswith("mesh_"):
        label = label.removeprefix("mesh_")
    elif label in {"", "undefined"}:
        label = str(group.group_name)
    return ProcessGroup(label, ranks, str(distributed.get_backend(group)))


def is_collective(func: Any) -> bool:
    """Tell whether an operator communicates (waiting for it does not)."""
    return func.namespace in NAMESPACES and _kind_of(func) is not None


def is_wait(func: Any) -> bool:
    """Tell whether an operator waits for a collective of the functional API."""
    return bool(func.namespace == "_c10d_functional" and func._schema.name.endswith("::wait_tensor"))


def bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operator by name, defaults included: the dispatcher leaves those out."""
    arguments = func._schema.arguments
    defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
    return {**defaults, **dict(zip([a.name for a in arguments], args, strict=False)), **kwargs}


def group_of(values: dict[str, Any]) -> Any:
    """Return the process group among the arguments of a collective."""
    from torch._C._distributed_c10d import ProcessGroup as Group
    from torch._C._distributed_c10d import _resolve_process_group

    group: Any = values["process_group"] if "process_group" in values else values["group_name"]
    if isinstance(group, str):
        return _resolve_process_group(group)  # type: ignore[arg-type]
    if isinstance(group, torch.ScriptObject):
        return Group.unbox(group)
    return group


def reduce_op_of(values: dict[str, Any]) -> str | None:
    """Return the reduction of a collective: ``sum``, ``avg``, ``max``, ..."""
    op: Any = values.get("reduce_op")
    if op is None or isinstance(op, str):
        return op
    if isinstance(op, torch.ScriptObject):
        op = op.op()  # type: ignore[attr-defined]
    if isinstance(op, int):
        return _REDUCE_OPS[op] if op < len(_REDUCE_OPS) else None
    return str(getattr(op, "name", op)).rsplit(".", 1)[-1].lower()


def describe_communication(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, table: GroupTable
) -> Communication:
    """Say what one call of a collective moves."""
    values = bound(func, args, kwargs)
    described = _kind_of(func)
    assert described is not None  # is_collective said so
    kind, source, target = described
    inputs = nested_tensors(values.get(source))
    outputs = nested_tensors(out) if target == "" else nested_tensors(values.get(target))
    group = group_of(values)
    number = table.number(group)
    tensors = inputs or outputs
    return Communication(
        Collective(
            kind=kind, group=number, bytes_in=_bytes(inputs), bytes_out=_bytes(outputs),
            dtype=str(tensors[0].dtype).removeprefix("torch.") if tensors else "",
            reduce_op=reduce_op_of(values), peer=_peer(values, table.groups[number].ranks),
            is_async=func.namespace != "c10d" or bool(values.get("async_op", kind in {"send", "recv"})),
        ),
        inputs, outputs,
    )  # fmt: skip


def _kind_of(func: Any) -> tuple[CollectiveKind, str, str] | None:
    name = func._schema.name.split("::")[-1]
    if func.namespace == "_c10d_functional" and name in _FUNCTIONAL_ONLY:
        return _FUNCTIONAL_ONLY[name]  # type: ignore[return-value]
    return _KINDS.get(name)


def _peer(values: dict[str, Any], ranks: tuple[int, ...]) -> int | None:
    for name in _ROOTS:
        rank = values.get(name)
        if isinstance(rank, int):
            return ranks[rank] if 0 <= rank < len(ranks) else rank
    return None


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def nested_tensors(value: Any) -> list[torch.Tensor]:
    """Collect the tensors in nested lists."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in nested_tensors(item)]
    return []
