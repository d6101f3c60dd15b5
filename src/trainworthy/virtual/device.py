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

from trainworthy.tape.operators import flat_tensors
from trainworthy.virtual import values
from trainworthy.virtual.errors import check_devices, check_dtypes, native_error, shown_device
from trainworthy.virtual.tensors import (
    CPU,
    CUDA,
    META,
    AskedForMeta,
    Raw,
    claim,
    device_of,
    is_virtual,
    like_real,
    raw_empty_strided,
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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.assume = assume
        self.building = building
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
        info = self._infos.get(func) or self._describe(func)
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
                return _rebuild(spec, device)
        out = self._call_meta(func, info, args, kwargs)
        if info.is_view:
            for tensor in flat_tensors((out,), {}):
                if device_of(tensor) is None:
                    claim(tensor, device)
            return out
        out = _claim_new(out, device)
        if key is not None:
            spec = True if info.mutated else _spec_of(out, flat_tensors(args, kwargs))
            if spec is not None:
                self._cache[key] = spec
        return out

    def _call_meta(self, func: Any, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        meta_args = _to_meta(args)
        meta_kwargs = {k: _to_meta_value(v) for k, v in kwargs.items()}
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
        real = func(*_to_real(args), **{k: _to_real_value(v) for k, v in kwargs.items() if k != "device"})
        device = self.output_device(kwargs, tensors)
        return _map(real, lambda t: claim(like_real(t), device) if isinstance(t, torch.Tensor) else t)

    # --- devices --------------------------------------------------------------------------------

    def output_device(self, kwargs: dict[str, Any], tensors: list[torch.Tensor]) -> torch.device:
        """Return the device of new outputs: the one asked for, else that of the inputs."""
        wanted = kwargs.get("device")
        if wanted is not None and wanted.type != "meta":
            return CUDA if wanted.type == "cuda" else CPU
        devices = [shown_device(t) for t in tensors]
        for device in devices:
            if device.type == "cuda":
                return device
        return CPU

    def _is_born_virtual(self, info: _FuncInfo, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> bool:
        elements = tensors[0].numel() if tensors else _elements(args)
        return elements >= BORN_VIRTUAL_ELEMENTS and self.building()

    def _writes_real(self, info: _FuncInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        target = _argument(info.mutated[0], args, kwargs)
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
            for t in flat_tensors((_argument(which, args, kwargs),), {})
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
        _set_hints(name, args, tensors, outputs)

    def _shadow_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[torch.Tensor]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        for tensor in tensors:
            if values.shadow_of(tensor) is None or not values.small_enough(tensor):
                return None
        shadow = _map(args, lambda v: values.shadow_of(v) if isinstance(v, torch.Tensor) else v)
        more = {k: _map(v, lambda v: values.shadow_of(v) if isinstance(v, torch.Tensor) else v)
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
            key = (func, *[_key_of(a) for a in args], *[(k, _key_of(v)) for k, v in kwargs.items()])
            hash(key)
        except TypeError:
            return None
        return key

    def _describe(self, func: Any) -> _FuncInfo:
        schema = func._schema
        name = schema.name.split("::")[-1]
        mutated: list[int | str] = []
        positions: dict[int, str] = {}
        for i, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                mutated.append(argument.name if argument.kwarg_only else i)
                positions[i] = argument.name
        is_view = not mutated and any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), torch._C.DispatchKey.CompositeImplicitAutograd
        )
        returns = 0 if (len(schema.returns) == 1 and mutated and mutated[0] == 0) else None
        kwarg_out = any(isinstance(m, str) for m in mutated)
        simple = len(schema.returns) <= 1 and not kwarg_out
        factory = "device" in {a.name for a in schema.arguments}
        dynamic = {torch.Tag.dynamic_output_shape, torch.Tag.inplace_view} & set(func.tags)
        info = _FuncInfo(
            name, is_view, tuple(mutated), returns, composite, factory,
            torch.Tag.nondeterministic_seeded in func.tags,
            cacheable=not is_view and not dynamic and (simple or not mutated) and name not in _RESIZES,
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
    return [claim(_empty_like(t), device) for t in first]


def _empty_like(tensor: torch.Tensor) -> torch.Tensor:
    return raw_empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def _set_hints(
    name: str, args: tuple[Any, ...], tensors: list[torch.Tensor], outputs: list[torch.Tensor]
) -> None:
    """Say what is assumed of the values of ``outputs``."""
    hint: object = None
    if name in values.POSITIONS:
        outputs, hint = [t for t in outputs if not t.dtype.is_floating_point], 0
    elif name in values.TRUTHS or _is_true(name, args):
        hint = True
    elif name in {"logical_not", "bitwise_not"} and tensors[0].dtype is torch.bool:
        hint = True if values.hint_of(tensors[0]) is False else None
    elif name in values.PASS_TRUTH and tensors:
        hints = [values.hint_of(t) for t in tensors]
        known = all(h is not None for h in hints)
        hint = hints[0] if known else values.VERDICTS.get(name)
    elif name == "mul" and outputs[0].dtype is torch.bool:
        hint = True if all(values.hint_of(t) is True for t in tensors) else None
    if hint is not None:
        for tensor in outputs:
            values.set_hint(tensor, hint)


def _is_true(name: str, args: tuple[Any, ...]) -> bool:
    """Recognise the parts of ``isfinite``: equal to itself, and not infinite."""
    if name == "eq":
        return args[0] is args[1]
    return name == "ne" and isinstance(args[1], float) and args[1] == float("inf")


def _key_of(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_conj() or value.is_neg():
            raise TypeError("no cache for sparse and conjugate tensors")
        return (value.shape, value.stride(), value.dtype)
    if isinstance(value, (list, tuple)):
        return tuple([_key_of(v) for v in value])
    if isinstance(value, (bool, int, float)):
        return (type(value), value)
    if isinstance(value, torch.Generator):
        return torch.Generator
    return value


def _spec_of(out: Any, inputs: list[torch.Tensor]) -> Any:
    """Describe fresh outputs so that they can be made again; ``None`` if one is not fresh."""
    taken = {t.untyped_storage()._cdata for t in inputs if t.layout is torch.strided}

    def spec(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.layout is not torch.strided or value.untyped_storage()._cdata in taken:
                raise TypeError("not fresh")
            size = value.untyped_storage().nbytes()
            full = raw_empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META)
            if value.storage_offset() or size != full.untyped_storage().nbytes():
                raise TypeError("part of a larger storage")
            return ("t", tuple(value.shape), value.stride(), value.dtype)
        if isinstance(value, (list, tuple)):
            return ("l" if isinstance(value, list) else "u", [spec(v) for v in value])
        return ("v", value)

    try:
        return spec(out)
    except TypeError:
        return None


def _rebuild(spec: Any, device: torch.device) -> Any:
    kind = spec[0]
    if kind == "t":
        tensor = raw_empty_strided(spec[1], spec[2], dtype=spec[3], device=META)
        tensor.untyped_storage()._tw_device = device  # type: ignore[attr-defined]
        return tensor
    if kind == "v":
        return spec[1]
    items = [_rebuild(s, device) for s in spec[1]]
    return items if kind == "l" else tuple(items)


def _claim_new(out: Any, device: torch.device) -> Any:
    for tensor in flat_tensors((out,), {}):
        if raw_is_meta(tensor) and device_of(tensor) is None:
            claim(tensor, device)
    return out


def _argument(which: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(which, int):
        return args[which] if which < len(args) else None
    return kwargs.get(which)


def _elements(args: tuple[Any, ...]) -> int:
    if args and isinstance(args[0], (list, tuple)):
        total = 1
        for size in args[0]:
            total *= int(size)
        return total
    return max((int(a) for a in args if isinstance(a, int)), default=0)


def _map(value: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, function) for v in value)
    return function(value)


def _to_meta_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value if raw_is_meta(value) else like_real(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_to_meta_value(v) for v in value)
    if isinstance(value, torch.Generator):
        return None
    return value


def _to_meta(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([_to_meta_value(a) for a in args])


def _to_real_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return values.assumed_values(value) if is_virtual(value) else value
    if isinstance(value, (list, tuple)):
        return type(value)(_to_real_value(v) for v in value)
    return value


def _to_real(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([_to_real_value(a) for a in args])
