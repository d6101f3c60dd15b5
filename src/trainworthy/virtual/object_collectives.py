"""Collectives of Python objects: sizes and bytes travel as in torch, and objects that are known arrive.

What every rank contributes is taken to equal the own object. What one rank hands out comes from that rank, if it is
rehearsed together with this one; else this rank keeps what it has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_GATHERED = "objects gathered from other ranks are taken to equal the own one"


class ObjectCollectives:
    """The functions of ``torch.distributed`` that pass objects around."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return them by the name that torch gives them."""
        return {
            "all_gather_object": self.all_gather, "gather_object": self.gather,
            "broadcast_object_list": self.broadcast, "scatter_object_list": self.scatter,
        }  # fmt: skip

    def all_gather(self, object_list: list[Any], obj: Any, group: Any = None) -> None:
        """Stand in for ``all_gather_object``."""
        group = group or c10d._get_default_group()
        data, size = self._tensors(obj, group)
        self._gather_sizes(size, group)
        every = torch.empty(data.numel() * group.size(), dtype=torch.uint8, device=data.device)
        dist.all_gather(list(every.chunk(group.size())), data, group=group)
        self._fill(object_list, obj, group)

    def gather(
        self, obj: Any, object_gather_list: list[Any] | None = None, dst: Any = None, group: Any = None,
        group_dst: Any = None,
    ) -> None:  # fmt: skip
        """Stand in for ``gather_object``."""
        group = group or c10d._get_default_group()
        target = _root(group, dst, group_dst)
        data, size = self._tensors(obj, group)
        self._gather_sizes(size, group)
        parts = None
        if group.rank() == target:
            every = torch.empty(data.numel() * group.size(), dtype=torch.uint8, device=data.device)
            parts = list(every.chunk(group.size()))
        dist.gather(data, parts, dst=c10d.get_global_rank(group, target), group=group)
        if group.rank() == target and object_gather_list is not None:
            self._fill(object_gather_list, obj, group)

    def broadcast(
        self, object_list: list[Any], src: Any = None, group: Any = None, device: Any = None, group_src: Any = None,
        **more: Any,
    ) -> None:  # fmt: skip
        """Stand in for ``broadcast_object_list``."""
        group = group or c10d._get_default_group()
        source = c10d.get_global_rank(group, _root(group, src, group_src))
        if dist.get_rank() == source:
            for obj in object_list:
                self._put(obj, group, None)
        else:
            object_list[:] = [self._take(obj, group, source, broadcast=True) for obj in object_list]
        pairs = [self._tensors(obj, group) for obj in object_list]
        dist.broadcast(torch.cat([size for _, size in pairs]), src=source, group=group)
        dist.broadcast(torch.cat([data for data, _ in pairs]), src=source, group=group)

    def scatter(
        self, scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None,
        src: Any = None, group: Any = None, group_src: Any = None,
    ) -> None:  # fmt: skip
        """Stand in for ``scatter_object_list``."""
        group = group or c10d._get_default_group()
        source = c10d.get_global_rank(group, _root(group, src, group_src))
        at_source = dist.get_rank() == source
        objects = list(scatter_object_input_list or []) if at_source else []
        if at_source:
            for rank, obj in zip(dist.get_process_group_ranks(group), objects, strict=False):
                self._put(obj, group, rank)
            scatter_object_output_list[0] = objects[group.rank()]
        else:
            scatter_object_output_list[0] = self._take(scatter_object_output_list[0], group, source)
            objects = [scatter_object_output_list[0]]
        pairs = [self._tensors(obj, group) for obj in objects]
        most = max(pairs, key=lambda pair: pair[0].numel())
        size = most[1].clone()
        dist.broadcast(size, src=source, group=group)
        for like in most:  # the objects, then their sizes
            parts = [torch.empty_like(like) for _ in objects] if at_source else None
            dist.scatter(torch.empty_like(like), parts, src=source, group=group)

    # --- what they share --------------------------------------------------------------------------

    def _tensors(self, obj: Any, group: Any) -> tuple[torch.Tensor, torch.Tensor]:
        data, size = c10d._object_to_tensor(obj, torch.device("cpu"), group)
        device = c10d._get_object_coll_device(group)
        return data.to(device), size.to(device)

    def _gather_sizes(self, size: torch.Tensor, group: Any) -> None:
        sizes = torch.zeros(group.size(), dtype=torch.long, device=size.device)
        dist.all_gather([sizes[i].unsqueeze(0) for i in range(group.size())], size, group=group)

    def _fill(self, target: list[Any], obj: Any, group: Any) -> None:
        if group.size() > 1:
            self._gpu.assume(_GATHERED)
        for i in range(group.size()):
            target[i] = obj if i == group.rank() else copy.deepcopy(obj)

    def _put(self, obj: Any, group: Any, receiver: int | None) -> None:
        if self._gpu.mailbox is not None:
            data, _ = c10d._object_to_tensor(obj, torch.device("cpu"), group)
            self._gpu.mailbox.put(_channel(group), receiver, bytes(data.tolist()))

    def _take(self, own: Any, group: Any, source: int, *, broadcast: bool = False) -> Any:
        """Return what ``source`` hands out; the own object if that is not known."""
        content = None
        if self._gpu.mailbox is not None:
            content = self._gpu.mailbox.take(_channel(group), source, broadcast=broadcast)
        if content is None:
            self._gpu.assume(f"objects from rank {source} are unknown here: this rank keeps its own")
            return own
        data = torch.tensor(list(content), dtype=torch.uint8)
        return c10d._tensor_to_object(data, len(content), group)  # torch pickles objects that it sends


def _root(group: Any, rank: Any, group_rank: Any) -> int:
    """Return the root of a collective as a rank of the group."""
    if rank is None and group_rank is None:
        return 0
    return int(group_rank) if group_rank is not None else int(c10d.get_group_rank(group, rank))


def _channel(group: Any) -> str:
    ranks = dist.get_process_group_ranks(group)
    return f"objects-{ranks[0]}-{ranks[-1]}-{len(ranks)}"
