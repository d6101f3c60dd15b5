"""The virtual device: runs operations without data.

Shapes, strides and dtypes come from torch's own meta kernels and are cached by everything they
depend on, because many of those kernels are written in Python and take up to a millisecond.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainworthy.tape.collectives import is_collective, is_wait
from trainworthy.tape.operators import flat_tensors, is_composite, passed_on
from trainworthy.virtual import values
from trainworthy.virtual.collectives import communicate
from trainworthy.virtual.device_specs import (
    argument,
    claim_new,
    elements,
    empty_like,
    key_of,
    map_nested,
    rebuild,
    spec_of,
    to_meta,
    to_meta_value,
    to_real,
    to_real_value,
)
from trainworthy.virtual.errors import check_devices, check_dtypes, native_error, shown_device
from trainworthy.virtual.mailbox import Mailbox
from trainworthy.virtual.tensors import (
    CPU,
    META,
    AskedForMeta,
    Gpus,
    Raw,
    claim,
    device_of,
    like_real,
    raw_is_meta,
)

Handler = Callable[["VirtualDevice", Any, tuple[Any, ...], dict[str, Any]], Any]
HANDLERS: dict[str, Handler] = {}

# Inside nn.Module.__init__ (and what it calls), tensors from this size on are virtual from birth.
BORN_VIRTUAL_ELEMENTS = 1 << 16
_CONSTANT_FACTORIES = frozenset({"zeros", "ones", "full", "arange", "eye", "linspace", "scalar_tensor",
                                 "tril_indices", "triu_indices", "zeros_like", "ones_like", "full_like",
                                 "new_zeros", "new_ones", "new_full", "randperm", "randint"})  # fmt: skip
_LISTS = ("_foreach_", "_fused_adam", "_fused_sgd", "_fused_adagrad")
_RANDOM = frozenset({"randperm", "randint"})
_RESIZES = frozenset({"resize_", "set_", "resize_as_", "_resize_output_", "sparse_resize_"})


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register how an operation runs on virtual tensors when its meta kernel does not do."""

    def decorate(handler: Handler) -> Handler:
        for name in names:
            if name in HANDLERS:
                raise ValueError(f"two handlers for {name}")
            HANDLERS[name] = handler
        return handler

    return decorate


class _FuncInfo(NamedTuple):
    name: str
    is_view: bool
    mutated: tuple[int | str, ...]  # positions or names of arguments that are written
    returns_argument: int | None  # an in-place operation returns this argument
    composite: bool
    factory: bool
    random: bool
    cacheable: bool
    communicates: bool


class VirtualDevice(TorchDispatchMode):
    """Runs operations on virtual tensors; real tensors pass through untouched.

    ``assume`` is called with a text whenever a value or size had to be assumed. ``building`` tells
    whether a module is being built, where big CPU tensors are virtual from birth. ``device`` is
    what "cuda" means; with ``imitate_cpu`` the composite operations are those of the CPU.
    """

    def __init__(
        self,
        *,
        assume: Callable[[str], None] = lambda text: None,
        building: Callable[[], bool] = lambda: False,
        mailbox: Mailbox | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.assume = assume
        self.building = building
        self.mailbox = mailbox
        self._infos: dict[Any, _FuncInfo] = {}
        self._cache: dict[Any, Any] = {}
        self._last_device: torch.device | None = None
        self._lock = RLock()  # one kernel at a time, whatever thread it runs in

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import torch._dynamo (seconds) at the first operation

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if types and (passed := passed_on(func, types, args, kwargs)) is not func:
            return passed
        info = self._infos.get(func) or self._describe(func)
        if info.communicates:
            return communicate(self, func, args, kwargs)
        device = kwargs.get("device")
        wanted = device.type if device is not None else None
        virtual = wanted == "cuda"
        tensors = flat_tensors(args, kwargs)
        if not virtual:
            for tensor in tensors:
                if raw_is_meta(tensor) and device_of(tensor) is not None:
                    virtual = True
                    break
        if kwargs.get("pin_memory"):
            kwargs = {k: v for k, v in kwargs.items() if k != "pin_memory"}
        if wanted == "meta" and AskedForMeta.depth:
            self._last_device = None
            return func(*args, **kwargs)
        if not virtual and wanted == "meta" and self._is_internal(tensors):
            device = kwargs["device"] = self._last_device
            return self._run(func, info, args, kwargs, tensors)
        if not virtual:
            if info.factory and wanted != "meta" and self._is_born_virtual(info, args, tensors):
                return self._run(func, info, args, {**kwargs, "device": CPU}, tensors)
            return func(*args, **kwargs)
        if info.composite:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        with self._lock:
            return self._run(func, info, args, kwargs, tensors)

    def plain(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the meta kernel of a functional collective on virtual tensors."""
        tensors = flat_tensors(args, kwargs)
        return self.meta(func, args, kwargs, self.output_device(kwargs, tensors))

    def meta_of(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return meta tensors shaped like the results of ``func`` on real ones."""
        return func(*to_meta(args), **{k: to_meta_value(v) for k, v in kwargs.items()})

    def _is_internal(self, tensors: list[torch.Tensor]) -> bool:
        """Tell whether "meta" was asked for by C++ code that works on virtual tensors."""
        if self._last_device is None:
            return False
        if any(raw_is_meta(t) for t in tensors):
            self._last_device = None  # a meta tensor of the script
            return False
        return "_subclasses" not in sys._getframe(2).f_code.co_filename  # FakeTensorMode of a script

    # --- one operation --------------------------------------------------------------------------

    def _run(
        self, func: Any, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any],
        tensors: list[torch.Tensor],
    ) -> Any:  # fmt: skip
        name = info.name
        if len(tensors) > 1:
            check_devices(name, tensors)
        if tensors:
            check_dtypes(name, args)
        handler = HANDLERS.get(name)
        if handler is not None:
            out = handler(self, func, args, kwargs)
            if out is not NotImplemented:
                return out
        device = self._last_device = self.output_device(kwargs, tensors)
        if name.startswith(_LISTS):
            return _run_on_lists(name, args, device)
        if not (info.is_view or info.mutated) and any(t.layout is torch.sparse_coo for t in tensors):
            return self.run_once(func, args, kwargs)  # meta kernels lose the number of elements
        out = self.meta(func, args, kwargs, device)
        if info.is_view:
            return out
        self._follow_values(func, info, args, kwargs, tensors, out)
        return out

    def meta(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device) -> Any:
        """Run the meta kernel of ``func``; new outputs are virtual on ``device``."""
        info = self._infos.get(func) or self._describe(func)
        if info.mutated and self._writes_real(info, args, kwargs):
            return self._returned(info, args, kwargs)
        key = self._key(func, args, kwargs) if info.cacheable else None
        if key is not None:
            spec = self._cache.get(key)
            if spec is not None:
                if info.mutated:
                    return self._returned(info, args, kwargs)
                return rebuild(spec, device)
        out = self._call_meta(func, info, args, kwargs)
        if info.is_view:
            for tensor in flat_tensors((out,), {}):
                if device_of(tensor) is None:
                    claim(tensor, device)
            return out
        out = claim_new(out, device)
        if key is not None:
            spec = True if info.mutated else spec_of(out, flat_tensors(args, kwargs))
            if spec is not None:
                self._cache[key] = spec
        return out

    def _call_meta(self, func: Any, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        meta_args = to_meta(args)
        meta_kwargs = {k: to_meta_value(v) for k, v in kwargs.items()}
        if "device" in kwargs and kwargs["device"] is not None:
            meta_kwargs["device"] = META
        try:
            Raw.active = get_ident()
            return func(*meta_args, **meta_kwargs)
        except NotImplementedError:
            pass
        except (RuntimeError, IndexError, ValueError) as error:
            native = native_error(func, args, kwargs)
            if native is None:
                raise
            raise native.with_traceback(None) from error
        finally:
            Raw.active = None
        return self._without_meta_kernel(func, args, kwargs)

    def _without_meta_kernel(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Decompose an operation that has no meta kernel, or learn its shapes from a real run."""
        from torch._decomp import decomposition_table

        decomposition = decomposition_table.get(func)
        if decomposition is not None:
            with self:
                return decomposition(*args, **kwargs)
        return self.run_once(func, args, kwargs)

    def run_once(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Learn the shapes of results from a run on the CPU, with assumed values."""
        tensors = flat_tensors(args, kwargs)
        elements = sum(t.numel() if t.layout is torch.strided else t._values().numel() for t in tensors)
        if elements > 1 << 22:
            raise NotImplementedError(
                f"{func.name()} has no shape rule (meta kernel), and its inputs are too large to run it "
                f"once on the CPU ({elements:,} elements)."
            )
        self.assume(f"{func.name()} has no shape rule: its output shapes come from a run on the CPU")
        real = func(*to_real(args), **{k: to_real_value(v) for k, v in kwargs.items() if k != "device"})
        device = self.output_device(kwargs, tensors)
        return map_nested(real, lambda t: claim(like_real(t), device) if isinstance(t, torch.Tensor) else t)

    # --- devices --------------------------------------------------------------------------------

    def output_device(self, kwargs: dict[str, Any], tensors: list[torch.Tensor]) -> torch.device:
        """Return the device of new outputs: the one asked for, else that of the inputs."""
        wanted = kwargs.get("device")
        if wanted is not None and wanted.type != "meta":
            if wanted.type != "cuda":
                return CPU
            return Gpus.current if wanted.index is None else wanted
        devices = [shown_device(t) for t in tensors]
        for device in devices:
            if device.type == "cuda":
                return device
        return CPU

    def _is_born_virtual(self, info: _FuncInfo, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> bool:
        size = tensors[0].numel() if tensors else elements(args)
        return size >= BORN_VIRTUAL_ELEMENTS and self.building()

    def _writes_real(self, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        target = argument(info.mutated[0], args, kwargs)
        if isinstance(target, torch.Tensor) and not raw_is_meta(target):
            self.assume("values of the device copied into a CPU tensor are unknown: it keeps its own")
            return True
        return False

    def _returned(self, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return None if info.returns_argument is None else args[info.returns_argument]

    # --- values ---------------------------------------------------------------------------------

    def _follow_values(
        self, func: Any, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any],
        tensors: list[torch.Tensor], out: Any,
    ) -> None:  # fmt: skip
        """Compute the shadows of what ``func`` wrote, if all its inputs have one."""
        name = info.name
        written = [
            t for which in info.mutated
            for t in flat_tensors((argument(which, args, kwargs),), {})
        ]  # fmt: skip
        outputs = written if written else flat_tensors((out,), {})
        known = name in _CONSTANT_FACTORIES if not tensors else bool(outputs)
        if known and (info.random and name not in _RANDOM):
            known = False
        known = known and not name.startswith(("empty", "new_empty"))
        known = known and all(values.small_enough(t) for t in outputs[:1])
        if known:
            shadows = self._shadow_arguments(args, kwargs, tensors)
            if shadows is not None:
                self._run_shadow(func, info, shadows, written, out)
                return
        for tensor in written:
            values.drop_shadow(tensor)
        values.set_hints(name, args, tensors, outputs)

    def _shadow_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[torch.Tensor]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        for tensor in tensors:
            if values.shadow_of(tensor) is None or not values.small_enough(tensor):
                return None
        shadow = map_nested(args, lambda v: values.shadow_of(v) if isinstance(v, torch.Tensor) else v)
        more = {k: map_nested(v, lambda v: values.shadow_of(v) if isinstance(v, torch.Tensor) else v)
                for k, v in kwargs.items() if k not in {"device", "generator"}}  # fmt: skip
        return shadow, more

    def _run_shadow(
        self, func: Any, info: _FuncInfo, shadows: tuple[tuple[Any, ...], dict[str, Any]],
        written: list[torch.Tensor], out: Any,
    ) -> None:  # fmt: skip
        state = torch.get_rng_state() if info.random else None
        args = tuple(a for a in shadows[0] if not isinstance(a, torch.Generator))
        try:
            real = func(*args, **shadows[1])
        except Exception:  # the values are then unknown, nothing else
            for tensor in written:
                values.drop_shadow(tensor)
            return
        finally:
            if state is not None:
                torch.set_rng_state(state)
        if not written:
            for virtual, value in zip(flat_tensors((out,), {}), flat_tensors((real,), {}), strict=False):
                if virtual.shape == value.shape:
                    values.set_shadow(virtual, value)

    # --- descriptions ---------------------------------------------------------------------------

    def _key(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            key = (func, *[key_of(a) for a in args], *[(k, key_of(v)) for k, v in kwargs.items()])
            hash(key)
        except TypeError:
            return None
        return key

    def _describe(self, func: Any) -> _FuncInfo:
        schema = func._schema
        name = schema.name.split("::")[-1]
        mutated: list[int | str] = []
        positions: dict[int, str] = {}
        for i, given in enumerate(schema.arguments):
            if given.alias_info is not None and given.alias_info.is_write:
                mutated.append(given.name if given.kwarg_only else i)
                positions[i] = given.name
        is_view = not mutated and any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        composite = is_composite(func, name)
        returns = 0 if (len(schema.returns) == 1 and mutated and mutated[0] == 0) else None
        kwarg_out = any(isinstance(m, str) for m in mutated)
        simple = len(schema.returns) <= 1 and not kwarg_out
        factory = "device" in {a.name for a in schema.arguments}
        dynamic = {torch.Tag.dynamic_output_shape, torch.Tag.inplace_view} & set(func.tags)
        info = _FuncInfo(
            name, is_view, tuple(mutated), returns, composite, factory,
            torch.Tag.nondeterministic_seeded in func.tags,
            cacheable=not is_view and not dynamic and (simple or not mutated) and name not in _RESIZES,
            communicates=is_collective(func) or is_wait(func),
        )  # fmt: skip
        self._infos[func] = info
        return info


def _run_on_lists(name: str, args: tuple[Any, ...], device: torch.device) -> Any:
    """Run an operation on lists of tensors: results are shaped like the first list.

    The meta kernels go through the lists one tensor at a time, which is slow for big models.
    """
    first = next(a for a in args if isinstance(a, (list, tuple)))
    if name.endswith("_"):
        for tensor in first:
            values.drop_shadow(tensor)
        return None
    if name in {"_foreach_norm", "_foreach_max"}:
        return [claim(torch.empty((), dtype=t.dtype, device=META), device) for t in first]
    return [claim(empty_like(t), device) for t in first]
