"""``trainworthy.inspect``: the modules of a model, with torchinfo's familiar keywords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from trainworthy._api.model_table import COLUMNS, ModelTable
from trainworthy._api.need_torch import need_torch
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trainworthy.tape.record import Tape
    from trainworthy.virtual.gpu import VirtualGpu

Mode = Literal["same", "train", "eval"]
DEFAULT_COLUMNS = ("output_size", "num_params", "mult_adds")


def inspect(
    model: nn.Module,
    input_size: Any = None,
    input_data: Any = None,
    *,
    batch_dim: int | None = None,
    col_names: Sequence[str] = DEFAULT_COLUMNS,
    depth: int = 3,
    device: str | torch.device | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    mode: Mode = "same",
    row_settings: Sequence[str] = ("depth",),
    verbose: int = 0,
    **kwargs: Any,
) -> ModelTable:
    """Run a model once on virtual tensors and list its modules.

    No arithmetic is done and no memory is taken, whatever the size. The model's device, mode, parameters, buffers and
    gradients, and the random number generators, are as before afterwards. In training mode a backward pass is run too.

    Args:
        model: Any module.
        input_size: Sizes with the batch: ``(1, 3, 224, 224)``, a list of sizes, or a dict of them by argument name.
        input_data: A tensor, a sequence of arguments, or a dict of them, instead of sizes.
        batch_dim: Where to insert a batch dimension of 1 into ``input_size``.
        col_names: Of ``input_size output_size num_params params_percent kernel_size mult_adds flops_backward
            activation_bytes trainable``.
        depth: How many levels of modules to show.
        device: What inputs and parameters claim to be on; default: where the model is.
        dtypes: Of the inputs of ``input_size``; default: float32.
        mode: ``"train"``, ``"eval"``, or as the model is.
        row_settings: Of ``depth var_names``.
        verbose: 0 returns the table (``print`` it), 1 prints it too.
        **kwargs: Further arguments of the model.

    Raises:
        UsageError: If neither or both inputs are given, or an option is unknown.
    """
    need_torch("inspect")
    _check(input_size, input_data, col_names, mode)
    tape, shapes = _run(model, input_size, input_data, batch_dim, device, dtypes, mode, kwargs)
    from trainworthy.inspect import summarize

    table = ModelTable(
        summarize(tape), name=type(model).__name__, columns=tuple(col_names), depth=depth, input_shapes=shapes,
        rows=tuple(row_settings),
    )  # fmt: skip
    if verbose:
        print(table)  # noqa: T201
    return table


def _check(input_size: Any, input_data: Any, col_names: Sequence[str], mode: str) -> None:
    if (input_size is None) == (input_data is None):
        raise UsageError(
            "inspect needs input_size or input_data, not both.",
            where="trainworthy.inspect",
            fix="inspect(model, input_size=(1, 3, 224, 224)), or inspect(model, input_data=batch).",
        )
    unknown = [name for name in col_names if name not in COLUMNS]
    if unknown:
        raise UsageError(f"No column {unknown[0]!r}.", where="col_names", fix=f"One of {', '.join(COLUMNS)}.")
    if mode not in ("same", "train", "eval"):
        raise UsageError(f"mode is {mode!r}.", where="mode", fix="One of same, train, eval.")


def _run(  # noqa: PLR0917 - the public keywords, in their order
    model: nn.Module, input_size: Any, input_data: Any, batch_dim: int | None, device: Any,
    dtypes: Sequence[torch.dtype] | None, mode: Mode, kwargs: dict[str, Any],
) -> tuple[Tape, dict[str, tuple[int, ...]]]:  # fmt: skip
    import torch

    from trainworthy.virtual.gpu import VirtualGpu

    where = torch.device(device) if device is not None else _device_of(model)
    modes = {module: module.training for module in model.modules()}
    with _random_state_kept(), VirtualGpu() as gpu, _virtual_parameters(model, where):
        try:
            if mode != "same":
                model.train(mode == "train")
            args, named = _inputs(input_size, input_data, batch_dim, where, dtypes)
            shapes = _forward(model, gpu, args, {**named, **kwargs})
            return gpu.tape(script=type(model).__name__, steps=0), shapes
        finally:
            for module, training in modes.items():
                module.training = training


def _forward(
    model: nn.Module, gpu: VirtualGpu, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Run forward (and backward, if the model trains) as one step; return input shapes by path."""
    import torch

    shapes: dict[str, tuple[int, ...]] = {}
    names = {id(module): name for name, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
        if tensors and id(module) in names:
            shapes.setdefault(names[id(module)], tuple(tensors[0].shape))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    counter = gpu.recorder.steps
    counter.begin()
    try:
        with torch.set_grad_enabled(model.training):
            out = model(*args, **kwargs)
        losses = [t for t in _tensors(out) if t.requires_grad]
        if losses:
            torch.autograd.backward(losses, [torch.ones_like(t) for t in losses])
    finally:
        hook.remove()
    counter.finish()
    return shapes


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _device_of(model: nn.Module) -> torch.device:
    import torch

    tensor = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if tensor is None or tensor.device.type == "meta" else tensor.device


# --- inputs -------------------------------------------------------------------------------------------------------


def _inputs(
    input_size: Any, input_data: Any, batch_dim: int | None, device: torch.device,
    dtypes: Sequence[torch.dtype] | None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:  # fmt: skip
    if input_data is not None:
        moved = _moved(input_data, device)
        if isinstance(moved, Mapping):
            return (), dict(moved)
        return (tuple(moved) if isinstance(moved, (list, tuple)) else (moved,)), {}
    import torch

    sizes = _sizes(input_size)
    names = list(input_size) if isinstance(input_size, Mapping) else []
    kinds = list(dtypes or [torch.float32] * len(sizes))
    if len(kinds) != len(sizes):
        raise UsageError(f"{len(sizes)} input sizes, but {len(kinds)} dtypes.", where="dtypes")
    tensors = [_empty(_with_batch(size, batch_dim), kind, device) for size, kind in zip(sizes, kinds, strict=True)]
    return ((), dict(zip(names, tensors, strict=True))) if names else (tuple(tensors), {})


def _empty(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    from trainworthy.virtual.tensors import new_virtual

    return new_virtual(size, dtype, device)


def _sizes(input_size: Any) -> list[tuple[int, ...]]:
    if isinstance(input_size, Mapping):
        return [tuple(size) for size in input_size.values()]
    try:
        if all(isinstance(size, int) for size in input_size):
            return [tuple(input_size)]
        return [tuple(int(n) for n in size) for size in input_size]
    except TypeError as error:
        raise UsageError(
            f"{input_size!r} is not a size.", where="input_size", fix="Write (1, 3, 224, 224), or a list of sizes."
        ) from error


def _with_batch(size: tuple[int, ...], batch_dim: int | None) -> tuple[int, ...]:
    return size if batch_dim is None else (*size[:batch_dim], 1, *size[batch_dim:])


def _moved(value: Any, device: torch.device) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value if device.type == "cpu" else value.to("cuda")
    if isinstance(value, Mapping):
        return {k: _moved(v, device) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(v, device) for v in value)
    return value


# --- what is put back ---------------------------------------------------------------------------------------------


@contextmanager
def _virtual_parameters(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Replace parameters and buffers by virtual ones while the context is open; ties are kept."""
    import torch

    from trainworthy.virtual.tensors import new_virtual

    replaced: dict[int, Any] = {}
    saved: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def virtual(tensor: torch.Tensor) -> Any:
        found = replaced.get(id(tensor))
        if found is None:
            plain = new_virtual(tuple(tensor.shape), tensor.dtype, device, tensor.stride())
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            found = torch.nn.Parameter(plain, tensor.requires_grad) if is_parameter else plain
            replaced[id(tensor)] = found
        return found

    for module in model.modules():
        groups: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for tensors in groups:
            saved.append((tensors, dict(tensors)))
            for name, tensor in tensors.items():
                if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided:
                    tensors[name] = virtual(tensor)
    try:
        yield
    finally:
        for tensors, before in saved:
            tensors.clear()
            tensors.update(before)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    import random

    import torch

    python, cpu = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(cpu)
