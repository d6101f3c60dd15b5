"""Stand-ins for the C++ half of ``DistributedDataParallel``: the reducer and what surrounds it.

The Python class is torch's own. Its C++ reducer refuses virtual tensors; the one here does the same with the same
collectives, in the same order: gradients go into flat buckets, a bucket is reduced when its last gradient is ready
and those before it are on their way, and after the first backward pass buckets are built again in the order in which
gradients came. Source: torch/csrc/distributed/c10d/reducer.cpp (torch 2.13).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _compute_bucket_assignment_by_size as _assign_buckets
from torch.autograd import Variable

from trainworthy.virtual.ddp_buckets import Bucket, GradBucket
from trainworthy.virtual.patching import Patches

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu


_UNFINISHED = (
    "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates that "
    "your module has parameters that were not used in producing loss. You can enable unused parameter detection by "
    "passing the keyword argument `find_unused_parameters=True` to `torch.nn.parallel.DistributedDataParallel`, and by "
    "making sure all `forward` function outputs participate in calculating loss."
)


class Reducer:
    """Reduces gradients as they become ready."""

    def __init__(
        self, params: list[torch.Tensor], bucket_indices: list[list[int]], per_bucket_size_limits: list[int],
        process_group: Any, expect_sparse_gradients: Any = None, bucket_bytes_cap: int = 25 << 20,
        find_unused_parameters: bool = False, gradient_as_bucket_view: bool = False,
        param_to_name_mapping: Any = None, first_bucket_bytes_cap: int = 1 << 20, *more: Any,
    ) -> None:  # fmt: skip
        self.parameters = list(params)
        self.group = process_group
        self.caps = [first_bucket_bytes_cap, bucket_bytes_cap]
        for option in more:  # later versions hand over the limits for building buckets again
            if isinstance(option, list) and option and all(isinstance(v, int) for v in option):
                self.caps = option
        self.find_unused = find_unused_parameters
        self.as_view = gradient_as_bucket_view
        self.static_graph = False
        self.rebuilt = False
        self.iterations = 0
        self.hook: tuple[Any, Callable[..., Any]] | None = None
        self._place: dict[int, tuple[int, int]] = {}
        self._arrived: list[int] = []
        self._unused: list[int] = []
        self._expects = False
        self._began = False
        self._used: set[int] = set()
        self._used_map = torch.zeros(len(self.parameters), dtype=torch.int32, device=self.parameters[0].device)
        self._build(bucket_indices)
        self._handles = [
            p.register_post_accumulate_grad_hook(functools.partial(self._hooked, i))
            for i, p in enumerate(self.parameters)
        ]

    def _build(self, bucket_indices: Sequence[Sequence[int]]) -> None:
        self.buckets = [Bucket(indices, [self.parameters[i] for i in indices]) for indices in bucket_indices]
        GPU.mark_gradients([bucket.flat for bucket in self.buckets])
        self._place = {i: (b, at) for b, bucket in enumerate(self.buckets) for at, i in enumerate(bucket.indices)}
        self._next = 0

    @property
    def bucket_bytes(self) -> list[int]:
        """Sizes of the buckets, in the order of reduction."""
        return [bucket.flat.numel() * bucket.flat.element_size() for bucket in self.buckets]

    # --- before a pass ------------------------------------------------------------------------------

    def prepare_for_forward(self) -> None:
        """Begin an iteration."""
        self.iterations += 1

    def prepare_for_backward(self, outputs: list[torch.Tensor]) -> None:
        """Expect every gradient, but those of parameters that the outputs do not depend on."""
        if self._expects and self._began:
            raise RuntimeError(_UNFINISHED)
        for bucket in self.buckets:
            bucket.pending, bucket.future = len(bucket.indices), None
        self._next, self._expects, self._began = 0, True, False
        self._used.clear()
        self._unused = self._without_path(outputs) if self.find_unused and not self.static_graph and outputs else []

    def _without_path(self, outputs: list[torch.Tensor]) -> list[int]:
        reached: set[int] = set()
        seen: set[Any] = set()
        stack = [t.grad_fn for t in outputs if t.grad_fn is not None]
        while stack:
            node: Any = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            variable = getattr(node, "variable", None)
            if variable is not None:
                reached.add(id(variable))
            stack += [following for following, _ in node.next_functions if following is not None]
        return [i for i, p in enumerate(self.parameters) if id(p) not in reached]

    # --- during the backward pass ---------------------------------------------------------------------

    def _autograd_hook(self, index: int) -> None:
        self._hooked(index, self.parameters[index])

    def _hooked(self, index: int, parameter: torch.Tensor) -> None:
        if not self._expects:  # no_sync: gradients only add up
            return
        self._used.add(index)
        if self.static_graph and self.iterations <= 1:
            if not self._began:
                self._began = True
                Variable._execution_engine.queue_callback(self._reduce_all)
            return
        if self._may_rebuild and index not in self._arrived:
            self._arrived.append(index)
        if not self._began:
            self._began = True
            for unused in self._unused:
                self._ready(unused)
        self._ready(index)

    @property
    def _may_rebuild(self) -> bool:
        return (self.static_graph or not self.find_unused) and not self.rebuilt

    def _ready(self, index: int) -> None:
        number, at = self._place[index]
        bucket = self.buckets[number]
        self._fill(bucket, at)
        bucket.pending -= 1
        if bucket.pending < 0:
            raise RuntimeError(
                "Expected to mark a variable ready only once. This error is caused by one of the following reasons: "
                "1) Use of a module parameter outside the `forward` function. 2) Reused parameters in multiple "
                f"reentrant backward passes. Parameter at index {index} has been marked as ready twice."
            )
        while self._next < len(self.buckets) and self.buckets[self._next].pending == 0:
            self._reduce(self._next)
            self._next += 1
            if self._next == len(self.buckets):
                if self.find_unused and not self.static_graph:
                    self._reduce_used_map()
                Variable._execution_engine.queue_callback(self._finish)

    @torch.no_grad()
    def _fill(self, bucket: Bucket, at: int) -> None:
        view, parameter = bucket.views[at], bucket.parameters[at]
        gradient = parameter.grad
        if gradient is None:
            view.zero_()
            return
        is_view = gradient.untyped_storage()._cdata == view.untyped_storage()._cdata
        if self.hook is not None:
            if not is_view:
                view.copy_(gradient)
        elif is_view:
            view.div_(self.group.size())
        else:
            torch.mul(gradient, 1.0 / self.group.size(), out=view)
        if self.as_view and not is_view:
            parameter.grad = view

    def _reduce(self, number: int) -> None:
        bucket = self.buckets[number]
        handed = GradBucket(bucket, number, number == len(self.buckets) - 1)
        with torch.no_grad():
            bucket.future = self._run_comm_hook(handed)

    def _run_comm_hook(self, bucket: Any) -> Any:
        if self.hook is not None:
            state, function = self.hook
            return function(state, bucket)
        return dist.all_reduce(bucket.buffer(), group=self.group, async_op=True).get_future()

    def _reduce_used_map(self) -> None:
        with torch.no_grad():
            self._used_work = dist.all_reduce(self._used_map, group=self.group, async_op=True)

    def _reduce_all(self) -> None:
        """Reduce everything after the first backward pass of a static graph."""
        self._reduce_used_map()
        for bucket in self.buckets:
            for at in range(len(bucket.indices)):
                self._fill(bucket, at)
        for number in range(len(self.buckets)):
            self._reduce(number)
        self._next = len(self.buckets)
        self._finish()

    @torch.no_grad()
    def _finish(self) -> None:
        """Wait for the buckets, and give the gradients back."""
        self._expects = False
        for bucket in self.buckets:
            result = bucket.future.wait()
            while isinstance(result, (list, tuple)):
                result = result[0]
            bucket.future = None
            if result.untyped_storage()._cdata != bucket.flat.untyped_storage()._cdata:
                bucket.flat.copy_(result)
            if not self.as_view:
                for view, parameter in zip(bucket.views, bucket.parameters, strict=True):
                    if parameter.grad is not None:
                        parameter.grad.copy_(view)
        if self.find_unused and not self.static_graph and len(self._used) < len(self.parameters):
            self._used_work.wait()
            self._used_map.to("cpu")  # which gradients no rank has: the host looks

    # --- building buckets again -------------------------------------------------------------------------

    def _rebuild_buckets(self) -> bool:
        if not self._may_rebuild or not self._arrived:
            return False
        order = self._arrived
        assigned, _ = _assign_buckets([self.parameters[i] for i in order], self.caps, [False] * len(order), order)
        self.rebuilt, self._arrived = True, []
        device = self.parameters[0].device
        sizes = sum(len(indices) for indices in assigned) + 1  # the number of buckets stands behind the indices
        source = dist.get_global_rank(self.group, 0) if self.group is not dist.group.WORLD else 0
        with torch.no_grad():
            for size in (sizes, len(assigned)):  # which parameters go where, how large the buckets are
                numbers = torch.empty(size, dtype=torch.int32, device=device)
                dist.broadcast(numbers, source, group=self.group, async_op=True).wait()
        for bucket in self.buckets:
            bucket.flat = None  # type: ignore[assignment]
            bucket.views.clear()
        self._build(assigned)
        return True

    def _push_all_rebuilt_params(self) -> None:
        self._arrived = list(range(len(self.parameters)))

    def _get_zeros_like_grad_buckets(self) -> list[GradBucket]:
        return [GradBucket(b, i, i == len(self.buckets) - 1) for i, b in enumerate(self.buckets)]

    def _get_local_used_map(self) -> torch.Tensor:
        return self._used_map

    def _set_static_graph(self) -> None:
        self.static_graph = True

    def _remove_autograd_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _update_process_group(self, group: Any) -> None:
        self.group = group

    def __getattr__(self, name: str) -> Any:
        if name in _QUIET:
            return lambda *args, **kwargs: None
        raise AttributeError(name)


# Settings that change nothing of what is communicated or held.
_QUIET = frozenset({
    "set_logger", "get_backward_stats", "_check_reducer_finalized", "_set_forward_pass_work_handle",
    "_set_ddp_runtime_logging_sample_rate", "_install_post_backward_futures", "_set_sparse_metadata", "_reset_state",
    "_set_optimizer_in_backward", "_set_mixed_precision_param_dtype", "_delay_all_reduce",
})  # fmt: skip


class Logger:
    """Keeps what DDP says of itself."""

    def __init__(self, reducer: Reducer) -> None:
        self._data = _LoggingData(reducer)

    def _get_ddp_logging_data(self) -> _LoggingData:
        return self._data

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("set_", "_set_")):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


class _LoggingData:
    def __init__(self, reducer: Reducer) -> None:
        self.strs_map = {"backend_name": dist.get_backend(reducer.group)}
        self.ints_map = {"world_size": reducer.group.size(), "rank": reducer.group.rank(),
                         "num_parameter_tensors": len(reducer.parameters)}  # fmt: skip


class _Gpu:
    """What the reducer tells the recorder: buckets are a second copy of the gradients, and count as such."""

    mark_gradients: Callable[[list[torch.Tensor]], None] = staticmethod(lambda tensors: None)


GPU = _Gpu


# --- functions of torch.distributed ---------------------------------------------------------------------------------


def _broadcast_coalesced(process_group: Any, tensors: list[torch.Tensor], buffer_size: int, src: int = 0) -> None:
    """Broadcast tensors in flat pieces of at most ``buffer_size`` bytes (c10d/comm.cpp)."""
    if not tensors:
        return
    assigned, _ = _assign_buckets(tensors, [buffer_size], [False] * len(tensors))
    source = dist.get_process_group_ranks(process_group)[src]
    with torch.no_grad():
        for indices in assigned:
            parts = [tensors[i] for i in indices]
            flat = torch.cat([p.reshape(-1) for p in parts]) if len(parts) > 1 else parts[0].reshape(-1).clone()
            dist.broadcast(flat, source, group=process_group, async_op=True).wait()
            offset = 0
            for part in parts:
                part.copy_(flat[offset : offset + part.numel()].view(part.shape))
                offset += part.numel()


def _verify_params(process_group: Any, tensors: list[torch.Tensor], logger: Any = None) -> None:
    """Compare the number of parameters, then their sizes and strides (c10d/reducer.cpp)."""
    device = tensors[0].device
    count = torch.empty(1, dtype=torch.int64, device=device)
    dist.all_gather([torch.empty_like(count) for _ in range(process_group.size())], count, group=process_group,
                    async_op=True).wait()  # fmt: skip
    numbers = torch.empty(sum(2 * t.dim() for t in tensors), dtype=torch.int64, device=device)
    dist.broadcast(numbers, dist.get_process_group_ranks(process_group)[0], group=process_group,
                   async_op=True).wait()  # fmt: skip


def _register_hook(reducer: Reducer, state: Any, hook: Callable[..., Any]) -> None:
    reducer.hook = (state, hook)


def _register_builtin_hook(reducer: Reducer, kind: Any) -> None:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    half = "FP16" in str(kind)
    reducer.hook = (None, default_hooks.fp16_compress_hook if half else default_hooks.allreduce_hook)


def add_patches(patches: Patches, gpu: VirtualGpu) -> None:
    """Plan the changes that DDP needs."""
    patches.set_all(
        dist, Reducer=Reducer, Logger=Logger, _broadcast_coalesced=_broadcast_coalesced,
        _verify_params_across_processes=_verify_params, _register_comm_hook=_register_hook,
        _register_builtin_comm_hook=_register_builtin_hook,
    )  # fmt: skip
    patches.set(GPU, "mark_gradients", staticmethod(lambda tensors: gpu.recorder.mark(tensors, "gradient")))
