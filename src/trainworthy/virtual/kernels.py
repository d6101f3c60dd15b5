"""Operations that need more than a shape rule.

Transfers, values read by the host, sizes that depend on data, recurrent layers.
"""

from __future__ import annotations

from typing import Any

import torch

from trainworthy.virtual import values
from trainworthy.virtual.device import VirtualDevice, handles
from trainworthy.virtual.errors import shown_device, type_name
from trainworthy.virtual.kernels_sparse import copy_sparse
from trainworthy.virtual.tensors import CPU, META, claim, is_virtual, like_real, like_virtual, new_virtual, raw_is_meta

aten = torch.ops.aten
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


# --- transfers --------------------------------------------------------------------------------


@handles("_to_copy")
def _to_copy(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    source = args[0]
    _refuse_meta(source)
    target = device.output_device(kwargs, [source])
    if source.layout is not torch.strided:
        return copy_sparse(source, target, kwargs.get("dtype"))
    options = {k: v for k, v in kwargs.items() if k not in {"device", "non_blocking", "pin_memory"}}
    out = device.meta(func, (_as_meta(source),), options, target)
    known = values.shadow_of(source)
    if known is not None and values.small_enough(source):
        values.set_shadow(out, known.to(out.dtype))
    elif (hint := values.hint_of(source)) is not None:
        values.set_hint(out, hint)
    return out


@handles("copy_")
def _copy(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    target, source = args[:2]
    _refuse_meta(source)
    if not raw_is_meta(target):
        if values.shadow_of(source) is None:
            device.assume(f"values copied to the CPU are unknown: {values.assumed_value(source)} each")
        return target.copy_(values.assumed_values(source))
    func(target, _as_meta(source))  # refuses shapes that do not broadcast
    known = values.shadow_of(source) if values.small_enough(target) else None
    whole = target.is_contiguous() and target.numel() * target.element_size() == (target.untyped_storage().nbytes())
    old = values.shadow_of(target)
    if known is not None and old is not None:
        old.copy_(known)
    elif known is not None and whole:
        values.set_shadow(target, known.to(target.dtype).expand(target.shape))
    else:
        values.drop_shadow(target)
    return target


@handles("zero_", "fill_")
def _fill(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    target = args[0]
    if not raw_is_meta(target):
        return NotImplemented
    value = args[1] if len(args) > 1 else 0
    if isinstance(value, torch.Tensor):
        return NotImplemented
    if values.small_enough(target):
        old = values.shadow_of(target)
        if old is not None:
            old.fill_(value)
        elif target.numel() * target.element_size() == target.untyped_storage().nbytes():
            values.set_shadow(target, torch.full(target.shape, value, dtype=target.dtype))
    return target


def _refuse_meta(source: torch.Tensor) -> None:
    if raw_is_meta(source) and not is_virtual(source):  # a meta tensor of the script
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")


def _as_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if raw_is_meta(tensor) else like_real(tensor)


# --- values read by the host ------------------------------------------------------------------


@handles("_local_scalar_dense")
def _item(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    known = values.shadow_of(args[0])
    if known is not None:
        return known.item()
    value = values.assumed_value(args[0])
    device.assume(f"a value read from the device is assumed to be {value}")
    return value


@handles("equal")
def _equal(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    one, two = (values.shadow_of(a) for a in args[:2])
    if one is not None and two is not None:
        return torch.equal(one, two)
    device.assume("tensors compared with torch.equal are assumed to be equal if their shapes are")
    return args[0].shape == args[1].shape


@handles("allclose")
def _allclose(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    return _equal(device, func, args[:2], {})


@handles("_amp_foreach_non_finite_check_and_unscale_")
def _unscale(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    device.assume("gradients are finite: GradScaler never skips a step")  # found_inf stays 0


# --- sizes that depend on data ------------------------------------------------------------------


@handles("nonzero", "argwhere")
def _nonzero(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor = args[0]
    known = values.shadow_of(tensor)
    target = shown_device(tensor)
    if known is not None:
        positions = known.nonzero()
        out = new_virtual(tuple(positions.shape), torch.int64, target)
        values.set_shadow(out, positions)
        return out
    device.assume("nonzero of unknown values is assumed to find every element")
    return new_virtual((tensor.numel(), tensor.dim()), torch.int64, target)


@handles("masked_select")
def _masked_select(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor, mask = args[:2]
    known = values.shadow_of(mask)
    shape = torch.broadcast_shapes(tensor.shape, mask.shape)
    if known is not None:
        count = int(known.expand(shape).sum())
    else:
        device.assume("a mask of unknown values is assumed to select every element")
        count = 1
        for size in shape:
            count *= size
    return new_virtual((count,), tensor.dtype, shown_device(tensor))


@handles("index")
def _index(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor, indices = args[:2]
    positions = _positions(device, tensor, indices)
    out = device.meta(func, (tensor, positions), {}, shown_device(tensor))
    known = values.shadow_of(tensor) if values.small_enough(out) else None
    real = [None if i is None else values.shadow_of(i) for i in positions]
    if known is not None and all(r is not None or i is None for r, i in zip(real, positions, strict=True)):
        try:
            values.set_shadow(out, known[tuple(slice(None) if r is None else r for r in real)])
        except (IndexError, RuntimeError):
            return out
    return out


@handles("index_put_", "_index_put_impl_", "index_put")
def _index_put(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor, indices = args[:2]
    if any(i is not None and i.dtype in {torch.bool, torch.uint8} for i in indices):
        if func._schema.name.endswith("index_put"):
            return device.meta(aten.clone.default, (tensor,), {}, shown_device(tensor))
        values.drop_shadow(tensor)
        return tensor
    return NotImplemented


def _positions(
    device: VirtualDevice, tensor: torch.Tensor, indices: list[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    """Replace masks by the positions they select."""
    out: list[torch.Tensor | None] = []
    target = shown_device(tensor)
    for index in indices:
        if index is not None and shown_device(index) not in {target, CPU, META}:  # meta: C++ made it of a list
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({target})"
            )
        if index is None or index.dtype not in {torch.bool, torch.uint8}:
            out.append(index)
            continue
        _check_mask(tensor, index, len(out))
        known = values.shadow_of(index)
        if known is not None:
            for column in known.nonzero().unbind(1):
                position = new_virtual(tuple(column.shape), torch.int64, target)
                values.set_shadow(position, column.contiguous())
                out.append(position)
        else:
            device.assume("a mask of unknown values is assumed to select every element")
            out += [new_virtual((index.numel(),), torch.int64, target) for _ in range(index.dim())]
    return out


def _check_mask(tensor: torch.Tensor, mask: torch.Tensor, start: int) -> None:
    for dim in range(mask.dim()):
        if tuple(mask.shape[: dim + 1]) != tuple(tensor.shape[start : start + dim + 1]):
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {dim} does not match the shape of the "
                f"indexed tensor {list(tensor.shape)} at index {start + dim}"
            )


@handles("_unique2", "unique_dim", "unique_consecutive", "_unique")
def _unique(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor, target = args[0], shown_device(args[0])
    known = values.shadow_of(tensor)
    if known is not None:
        real = func(known, *args[1:], **kwargs)
        return tuple(_virtual_copy(r, target) for r in real)
    device.assume("unique of unknown values is assumed to find that all differ")
    name = func._schema.name
    if name.endswith("unique_dim"):
        size = tensor.shape[args[1]]
        parts = (tuple(tensor.shape), (size,), (size,))
    else:
        size = tensor.numel()
        parts = ((size,), tuple(tensor.shape), (size,))
    dtypes = (tensor.dtype, torch.int64, torch.int64)
    shaped = zip(parts, dtypes, strict=True)
    return tuple(new_virtual(shape, dtype, target) for shape, dtype in shaped)[: len(func._schema.returns)]


def _virtual_copy(real: torch.Tensor, target: torch.device) -> torch.Tensor:
    out = new_virtual(tuple(real.shape), real.dtype, target)
    values.set_shadow(out, real)
    return out


@handles("repeat_interleave")
def _repeat_interleave(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    repeats = args[0]
    if "Tensor" not in func._overloadname or func._overloadname != "Tensor":
        return NotImplemented
    known = values.shadow_of(repeats)
    size = kwargs.get("output_size")
    if known is not None:
        return _virtual_copy(torch.repeat_interleave(known), shown_device(repeats))
    if size is None:
        device.assume("repeat_interleave with unknown repeats is assumed to repeat each once")
        size = repeats.numel()
    return new_virtual((size,), repeats.dtype, shown_device(repeats))


@handles("bincount")
def _bincount(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    known = values.shadow_of(args[0])
    target = shown_device(args[0])
    minimum = int(args[2] if len(args) > 2 else kwargs.get("minlength", 0) or 0)
    if known is not None and (len(args) < 2 or args[1] is None):
        return _virtual_copy(torch.bincount(known, minlength=minimum), target)
    device.assume(f"bincount of unknown values is assumed to have {max(minimum, 1)} bins")
    return new_virtual((max(minimum, 1),), torch.int64, target)


@handles("_ctc_loss", "_cudnn_ctc_loss")
def _ctc_loss(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    log_probs, targets, _, target_lengths = args[:4]
    target = shown_device(log_probs)
    batch = log_probs.shape[1] if log_probs.dim() == 3 else 1
    if targets.dim() == 2:
        longest = targets.shape[1]
    elif isinstance(target_lengths, (list, tuple)):
        longest = max(target_lengths)
    else:
        known = values.shadow_of(target_lengths)
        longest = int(known.max()) if known is not None else targets.numel() // max(batch, 1)
    alphas = (batch, log_probs.shape[0], 2 * longest + 1)
    return (new_virtual((batch,), log_probs.dtype, target), new_virtual(alphas, log_probs.dtype, target))


@handles("_ctc_loss_backward")
def _ctc_loss_backward(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    log_probs = args[1]
    return new_virtual(tuple(log_probs.shape), log_probs.dtype, shown_device(log_probs))


@handles("scatter_", "scatter")
def _scatter(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    """A permutation written into an empty tensor is known: so packed sequences are put back in order."""
    target, source = args[0], args[3]
    if not isinstance(source, torch.Tensor) or target.dim() != 1 or values.shadow_of(target) is not None:
        return NotImplemented
    positions, known = values.shadow_of(args[2]), values.shadow_of(source)
    if positions is None or known is None or positions.sort()[0].tolist() != list(range(len(target))):
        return NotImplemented
    out = target if raw_is_meta(target) and func._schema.name.endswith("_") else like_virtual(target)
    values.set_shadow(out, torch.empty_like(known).scatter_(0, positions, known))
    return out


# --- packed sequences and recurrent layers --------------------------------------------------------


@handles("_pack_padded_sequence")
def _pack(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor, lengths, batch_first = args
    if shown_device(lengths).type != "cpu":
        kind = type_name(lengths).rsplit(".", 1)[-1].removesuffix("Tensor")
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.dim()}D {shown_device(lengths)} {kind} tensor"
        )
    known = values.shadow_of(lengths)
    if known is None:
        device.assume("sequence lengths read from the device are unknown: all are assumed full")
        known = torch.full(lengths.shape, tensor.shape[1 if batch_first else 0])
    rows = int(known.sum())
    longest = int(known.max())
    sizes = torch.tensor([int((known > t).sum()) for t in range(longest)])
    data = new_virtual((rows, *tensor.shape[2:]), tensor.dtype, shown_device(tensor))
    return data, sizes


@handles("_pack_padded_sequence_backward")
def _pack_backward(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    grad, size = args[0], args[1]
    return new_virtual(tuple(int(s) for s in size), grad.dtype, shown_device(grad))


_RESERVED = {0: 1, 1: 1, 2: 5, 3: 6}  # by cuDNN's mode: ReLU and tanh cells, LSTM, GRU
_RESERVE_HEAD_BYTES = 256


@handles("_cudnn_rnn")
def _cudnn_rnn(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    """Outputs as cuDNN lays them out, and its reserve space for training.

    The reserve keeps, for every layer, direction, time step and sample, what the backward pass reads: as many values
    of a hidden unit as ``_RESERVED`` says, and one more for what goes from a layer to the next. NVIDIA publishes no
    sizes; this is what an H200 answered for 96 layers (cuDNN 9, ``benchmarks/gpu_library_memory.py``), to the byte.
    The workspace inside of the call is modelled by ``inspect/workspaces.py``.
    """
    x, weights = args[0], args[1]
    hx, cx, mode, hidden = args[4], args[5], args[6], args[7]
    projected, layers, batch_first, train = args[8], args[9], args[10], args[12]
    bidirectional, batch_sizes = args[13], args[14]
    target = shown_device(x)
    directions = 2 if bidirectional else 1
    width = (projected or hidden) * directions
    steps = x.shape[0] if batch_sizes else x.shape[0] * x.shape[1]
    y = new_virtual((*x.shape[:-1], width), x.dtype, target)
    if batch_first and not batch_sizes:
        shape = (x.shape[1], x.shape[0], width)
        y = claim(torch.empty(shape, dtype=x.dtype, device="meta").transpose(0, 1), target)
    hy = new_virtual(tuple(hx.shape), x.dtype, target)
    cy = new_virtual(tuple(cx.shape) if cx is not None else (0,), x.dtype, target)
    kept = layers * _RESERVED[mode] + layers - 1
    reserve = steps * directions * hidden * kept * x.element_size() + _RESERVE_HEAD_BYTES if train else 0
    del weights
    return (y, hy, cy, new_virtual((reserve,), torch.uint8, target), new_virtual((0,), x.dtype, target))


@handles("_cudnn_rnn_backward")
def _cudnn_rnn_backward(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    x, weights, hx, cx = args[0], args[1], args[4], args[5]
    mask = args[-1]
    target = shown_device(x)

    def like(t: Any, wanted: bool) -> Any:
        return new_virtual(tuple(t.shape), t.dtype, target) if wanted and t is not None else None

    gradients = [like(w, True) for w in weights] if mask[3] else [None for _ in weights]
    return like(x, mask[0]), like(hx, mask[1]), like(cx, mask[2]), gradients


@handles("_assert_async")
def _assert_async(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    return None


@handles("mkldnn_rnn_layer_backward")
def _mkldnn_rnn_backward(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    x, w0, w1, b0, b1, hx, cx = args[:7]
    made = [new_virtual(tuple(t.shape), t.dtype, shown_device(x)) for t in (x, w0, w1, b0, b1, hx, cx)]
    return tuple(made)
