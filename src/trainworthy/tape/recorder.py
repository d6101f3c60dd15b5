"""The recorder: writes down every operation, on virtual and on real tensors alike.

A ``TorchDispatchMode`` sees operations below autograd, so forward, recomputed, backward and
optimizer operations pass it in the order they run. It keeps, for each, small integers only (what is
alike is interned), and one record for each storage that closes when the storage dies. The tape is
built from both when recording ends.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainworthy.tape.autograd import BackwardWatch, frame_at
from trainworthy.tape.build import RawOp, StorageRecord, build_tape
from trainworthy.tape.collective_record import Ticket, note_wait, record_collective
from trainworthy.tape.collectives import GroupTable
from trainworthy.tape.flops import op_cost, sparse_parts
from trainworthy.tape.ledger import Ledger
from trainworthy.tape.library_watch import libraries_left_alone, resizes_followed, swaps_let
from trainworthy.tape.modules import ModuleTracker
from trainworthy.tape.operators import (
    Described,
    describe,
    flat_tensors,
    host_syncs,
    is_causal,
    is_fake,
    passed_on,
)
from trainworthy.tape.record import PHASES, Collective, Kind, Signature, Tape, TensorMeta
from trainworthy.tape.source import SourceFinder
from trainworthy.tape.steps import StepCounter

_DATA, _FORWARD, _LOSS, _RECOMPUTE, _BACKWARD, _OPTIMIZER, _OTHER = range(len(PHASES))
EVALUATION = len(PHASES)  # becomes "other" if the tape holds a training step, else "forward"
# Recurrent kernels keep private notes for their backward pass; outputs from this one on.
_RESERVES = {"_cudnn_rnn": 3, "mkldnn_rnn_layer": 3}
# These need their scalar arguments to be told apart: FLOPs depend on them.
_SCALARS_MATTER = frozenset({"convolution", "convolution_backward", "_convolution"})

_tensor: Any = torch.Tensor  # its attributes are descriptors, which the stubs do not say
_is_leaf: Callable[[torch.Tensor], bool] = _tensor.is_leaf.__get__
_base: Any = torch._C.TensorBase  # a lazy parameter refuses its own shape
_shape: Callable[[torch.Tensor], torch.Size] = _base.shape.__get__
_requires_grad: Callable[[torch.Tensor], bool] = _tensor.requires_grad.__get__


class Recorder(TorchDispatchMode):
    """Records operations while it is entered.

    ``only`` decides, from the tensors of an operation, whether it is recorded (default: all).
    ``ledger`` holds the storages, and the bytes alive for each device as the recording goes on.
    """

    def __init__(
        self,
        *,
        finder: SourceFinder | None = None,
        only: Callable[[list[torch.Tensor]], bool] | None = None,
        granularity_bytes: int = 1,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.finder = finder or SourceFinder()
        self.modules = ModuleTracker()
        self.steps = StepCounter(self)
        self.backward = BackwardWatch(self)
        # Whether work is being given to another stream than the one that computes, and who follows what it does.
        self.is_beside: Callable[[], bool] = lambda: False
        self.on_async_collective: Callable[[Any, Ticket], None] = lambda func, ticket: None
        self.ops: list[RawOp] = []
        self.ledger = Ledger(self.ops, granularity_bytes)
        self.mark = self.ledger.mark
        self.paused = False
        self._blind = False
        self.signatures: list[Signature] = []
        self._only = only
        self._phase_now = _OTHER
        self._signature_ids: dict[Any, int] = {}
        self._names: dict[Any, Described] = {}
        self.groups = GroupTable()
        self._dtypes: dict[torch.dtype, str] = {}
        self._parameters: dict[int, weakref.ref[torch.Tensor]] = {}
        self._use_of_parameter: dict[int, tuple[int, int]] = {}
        self._cleanup = ExitStack()
        self._depth = 0

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Recorder:
        # The mode enters itself again to take composite operations apart.
        if self._depth == 0:
            self._cleanup.enter_context(self.modules.installed())
            self._cleanup.enter_context(self.steps.installed())
            self._cleanup.enter_context(self.backward.installed())
            self._cleanup.enter_context(resizes_followed(self))
            self._cleanup.enter_context(swaps_let(self))
            self._cleanup.enter_context(libraries_left_alone(self))
        self._depth += 1
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        self._depth -= 1
        if self._depth == 0:
            self._cleanup.close()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave operations out while the context is open (storages are still followed)."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    def tape(self, **fields: Any) -> Tape:
        """Build the tape of what was recorded so far."""
        groups = tuple(self.groups.groups)
        return build_tape(self, **{"granularity_bytes": self.ledger.granularity_bytes, "groups": groups, **fields})

    # --- recording ------------------------------------------------------------------------------

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import torch._dynamo (seconds) at the first operation

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if types and (passed := passed_on(func, types, args, kwargs)) is not func:
            return passed
        info = self._names.get(func)
        if info is None:
            info = self._names[func] = describe(func)
        name, composite, noise, communicates = info
        if communicates:
            out = func(*args, **kwargs)
            record_collective(self, func, name, args, kwargs, out)
            return out
        if composite:  # inference mode hands composites over undivided
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if noise or self._blind:
            return out
        tensors = flat_tensors(args, kwargs)
        outputs = flat_tensors((out,), {})
        if outputs and is_fake(type(outputs[0])):  # made without a tensor to go by
            return out
        if self._only is not None and not self._only(tensors + outputs):
            return out
        self._record(func, name, args, kwargs, out, tensors, outputs)
        return out

    def _record(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any,
        tensors: list[torch.Tensor], outputs: list[torch.Tensor],
    ) -> None:  # fmt: skip
        index = len(self.ops)
        phase, module, source = self._place(tensors)
        if phase == _DATA and name in {"_local_scalar_dense", "_amp_update_scale_"}:
            phase = _OTHER
        self._phase_now = phase
        ids_in = tuple([self._storage(t, index, None, source, module).number for t in tensors])
        ids_out = tuple([self._storage(t, index, name, source, module).number for t in outputs])
        if name in _RESERVES:
            self.mark(outputs[_RESERVES[name] :], "workspace", overwrite=True)
        if self.paused:
            return
        signature = self._signature(func, name, args, kwargs, out, tensors, outputs)
        self.ops.append(RawOp(signature, phase, self.steps.current, module, source, ids_in, ids_out))

    def note_wait(self, ticket: Ticket) -> None:
        """Record that the compute stream waits for an asynchronous collective."""
        note_wait(self, ticket)

    def _place(self, tensors: list[torch.Tensor]) -> tuple[int, int, int]:
        """Return phase, module number and source number of the operation at hand."""
        module = self.modules.current
        found = self.backward.place()
        if found is not None:
            phase, bw_module, source = found
            if self.steps.in_optimizer:  # an optimizer that steps in a gradient hook
                return _OPTIMIZER, 0, source
            if phase == _RECOMPUTE:
                self._note_uses(tensors, bw_module, source)  # of the leaves that a checkpoint makes
            return phase, bw_module, source
        source, is_loss = self.finder.find(frame_at(4))
        if self.steps.in_optimizer:
            return _OPTIMIZER, 0, source
        grad = self.backward.grad_enabled
        self.backward.note_forward(module, source)
        # Where no module is called, a step begins with the first use of a parameter (not in a constructor).
        first_use = grad and self._note_uses(tensors, module, source) and not module
        if first_use and self.finder.sources[source].function != "__init__":
            self.steps.forward_outside()
        return self._phase(module, grad, is_loss, tensors), module, source

    def _note_uses(self, tensors: list[torch.Tensor], module: int, source: int) -> bool:
        """Remember where parameters were used; tell whether there are any, and nothing computed from them."""
        num_leaves = num_others = 0
        for tensor in tensors:
            if _requires_grad(tensor):
                if _is_leaf(tensor):
                    self._use_of_parameter[id(tensor)] = (module, source)
                    num_leaves += 1
                else:
                    num_others += 1
        return num_leaves > 0 and not num_others

    def _phase(self, module: int, grad: bool, is_loss: bool, tensors: list[torch.Tensor]) -> int:
        if module:
            if not grad and self.steps.evaluating:
                return EVALUATION
            if is_loss or self.steps.in_loss_module:
                return _LOSS
            return _FORWARD
        attached = self.backward.in_function or (grad and any(_requires_grad(t) for t in tensors))
        if attached:
            return _LOSS if is_loss or self.steps.forwarded else _FORWARD
        if self.steps.current == 0 or self.steps.forwarded or self.steps.evaluating:
            return _OTHER
        return _DATA if all(self._may_be_data(t) for t in tensors) else _OTHER

    def _may_be_data(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor comes from neither the model nor what was computed from it in a step."""
        if tensor.layout is not torch.strided:
            return True
        record = self.ledger.of(tensor)
        if record is None or record.kind == "input":
            return True
        return record.kind is None and (record.phase == _DATA or record.step == 0)

    def _signature(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any,
        tensors: list[torch.Tensor], outputs: list[torch.Tensor],
    ) -> int:  # fmt: skip
        metas_in = tuple([self._meta(t) for t in tensors])
        metas_out = tuple([self._meta(t) for t in outputs])
        extra = str(args[3:]) if name in _SCALARS_MATTER else is_causal(func, args, kwargs)
        key = (func, metas_in, metas_out, extra, kwargs.get("non_blocking", False))
        number = self._signature_ids.get(key)
        if number is None:
            number = self._signature_ids[key] = len(self.signatures)
            cost = op_cost(func, name, args, kwargs, out)
            syncs = host_syncs(func, name, args, kwargs, metas_in, metas_out)
            full = name if func._overloadname == "default" else f"{name}.{func._overloadname}"
            full += ".causal" if is_causal(func, args, kwargs) else ""
            if func.namespace != "aten":
                full = f"{func.namespace}.{full}"
            self.signatures.append(Signature(full, metas_in, metas_out, *cost, host_syncs=syncs))
        return number

    def _meta(self, tensor: torch.Tensor) -> TensorMeta:
        dtype = self._dtypes.get(tensor.dtype)
        if dtype is None:
            dtype = self._dtypes[tensor.dtype] = str(tensor.dtype).removeprefix("torch.")
        strided = tensor.layout is torch.strided
        stride = tensor.stride() if strided else ()
        return TensorMeta(tuple(_shape(tensor)), tuple(stride), dtype, self._device(tensor))

    def _device(self, tensor: torch.Tensor) -> str:
        if tensor.layout is torch.strided:
            record = self.ledger.of(tensor)
            if record is not None:
                return record.device
        return str(tensor.device)

    # --- storages -------------------------------------------------------------------------------

    def _storage(self, tensor: torch.Tensor, index: int, origin: str | None, source: int, module: int) -> StorageRecord:
        if tensor.layout is not torch.strided:
            parts = sparse_parts(tensor)
            records = [self._storage(p, index, origin, source, module) for p in parts]
            return records[-1]
        storage = tensor.untyped_storage()
        record = self.ledger.live.get(storage._cdata)
        if record is None:
            # An input that was never an output lived before the recording began, or was made by
            # operations that are left out.
            birth = index if origin is not None or self._only is not None else -1
            record = self.ledger.open(storage, str(tensor.device), birth, origin or "outside", self.steps.current)
            record.source, record.module = source, module
            record.phase = self._phase_now
        elif record.size_bytes != (size := storage.nbytes()):
            record = self.ledger.resize(record, size, self.steps.current)
        if origin is None and record.kind is None:
            self._note_first_use(tensor, record)
        return record

    def _note_first_use(self, tensor: torch.Tensor, record: StorageRecord) -> None:
        """Say what a tensor is from the way it is used; the engine hands out leaves that are no parameters."""
        phase = self._phase_now
        if _requires_grad(tensor):
            if _is_leaf(tensor) and phase not in {_RECOMPUTE, _BACKWARD}:
                self._note_parameter(tensor, record)
        elif phase in {_FORWARD, _LOSS} and (record.phase in {_DATA, _OTHER} or record.origin == "outside"):
            record.kind = "input"

    def adopt(self, tensor: torch.Tensor, kind: Kind | None, origin: str) -> None:
        """Follow a storage that no operation made (a parameter turned virtual)."""
        module = self.modules.current
        source, _ = self.finder.find(sys._getframe(1))
        record = self._storage(tensor, len(self.ops), origin, source, module)
        if kind is not None:
            record.kind = kind

    def made_at(self, tensor: torch.Tensor) -> str | None:
        """Return the line that brought the storage of ``tensor`` to life, if it is known."""
        if tensor.layout is not torch.strided:
            return None
        record = self.ledger.of(tensor)
        return str(self.finder.sources[record.source]) if record and record.source else None

    def mark_saved(self) -> None:
        """Mark what the forward pass left alive for the backward pass that begins."""
        step = self.steps.current
        phases = {_FORWARD, _LOSS, _BACKWARD} if self.backward.made_graph else {_FORWARD, _LOSS}
        self.ledger.mark_where(lambda record: record.phase in phases and record.step == step, "activation")

    def _note_parameter(self, tensor: torch.Tensor, record: StorageRecord) -> None:
        record.kind = "parameter"
        self._parameters[id(tensor)] = weakref.ref(tensor)

    def parameters(self) -> Iterator[torch.Tensor]:
        """Yield the parameters seen so far that are still alive."""
        for ref in list(self._parameters.values()):
            tensor = ref()
            if tensor is not None:
                yield tensor

    def use_of_parameter(self, tensor: torch.Tensor) -> tuple[int, int]:
        """Return module and source that last used a parameter in a forward pass."""
        return self._use_of_parameter.get(id(tensor), (0, 0))

    def mark_gradients(self) -> None:
        """Mark the gradients that parameters hold now."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                self.mark((parameter.grad,), "gradient", overwrite=True)

    def note_event(self, name: str, *, host_syncs: int = 0, collective: Collective | None = None) -> None:
        """Record something that is no tensor operation: a synchronisation, a collective."""
        key = (name, host_syncs, collective)
        number = self._signature_ids.get(key)
        if number is None:
            number = self._signature_ids[key] = len(self.signatures)
            self.signatures.append(Signature(name, (), (), 0, 0, 0, 0, host_syncs=host_syncs, collective=collective))
        source, _ = self.finder.find(sys._getframe(1))
        phase = _OPTIMIZER if self.steps.in_optimizer else _OTHER
        self.ops.append(RawOp(number, phase, self.steps.current, self.modules.current, source, (), ()))
