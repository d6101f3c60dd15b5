"""Changes of a training as changes of its tape: fused optimizer and loss, checkpointing, padded sizes, layouts.

Each returns the tape as it would be, or None where there is nothing to change. What they do to memory comes out of the
changed tape where storages change with it; where not, ``memory_saved_bytes`` of the change says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import NamedTuple

from trainworthy.estimate.costs import FUSED_LOSS
from trainworthy.estimate.gpu_kernels import gemm_shape
from trainworthy.estimate.metas import element_bytes, scaled_traffic
from trainworthy.estimate.op_classes import base_name, op_class
from trainworthy.estimate.rewrite import NewLeaf, Site, each_leaf, map_signatures, rewrite
from trainworthy.tape.nodes import Leaf
from trainworthy.tape.record import PHASES, Row, Signature, Tape, TensorMeta

__all__ = [
    "Changed",
    "checkpointed",
    "in_channels_last",
    "padded",
    "with_fused_loss",
    "with_fused_optimizer",
    "without_checkpointing",
    "without_syncs",
]


class Changed(NamedTuple):
    """A changed tape; ``saved_bytes`` is what the peak shrinks by; None: the memory of the tape says it."""

    tape: Tape
    saved_bytes: int | None
    note: str


_FUSED = {"Adam": "_fused_adam_", "AdamW": "_fused_adamw_", "SGD": "_fused_sgd_", "Adagrad": "_fused_adagrad_"}
_OPTIMIZER, _FORWARD, _RECOMPUTE = (PHASES.index(phase) for phase in ("optimizer", "forward", "recompute"))


def with_fused_optimizer(tape: Tape, step: int) -> Changed | None:
    """Put one fused kernel in the place of an optimizer's foreach or single-tensor operations.

    It reads parameters, gradients and states once, and writes parameters and states once.
    """
    names = {
        tape.signatures[tape.rows[row].signature].name
        for row in tape.row_counts(step)
        if tape.rows[row].phase == _OPTIMIZER
    }
    if not names or any(op_class(name) == "optimizer_fused" for name in names):
        return None
    groups = [g for g in tape.parameter_groups if g.optimizer in _FUSED]
    optimizers = {g.optimizer for g in tape.parameter_groups if g.optimizer != "none"}
    if not groups or optimizers - set(_FUSED):
        return None
    weights = sum(g.elements * element_bytes(g.dtype) for g in groups)
    states = sum(c.size_bytes * n for c, n in _born(tape, "optimizer_state"))
    moved = 3 * weights + 2 * min(states, 3 * weights)
    fused = Signature(_FUSED[groups[0].optimizer], (), (), 0, sum(g.elements for g in groups) * 10, 0, moved)

    def change(site: Site) -> list[NewLeaf]:
        signature = site.signature
        if site.row.phase != _OPTIMIZER or signature.collective is not None or signature.host_syncs:
            return [site.kept()]
        return [site.as_signature(_idle(signature))]

    idle = rewrite(tape, each_leaf(change), steps=[step])
    changed = _with_last(idle, step, fused, _OPTIMIZER)
    return Changed(changed, None, f"{groups[0].optimizer}(fused=True)")


def _with_last(tape: Tape, step: int, signature: Signature, phase: int) -> Tape:
    """Add one operation at the end of a step."""
    place = next(row for row in tape.rows if row.phase == phase)
    row = Row(len(tape.signatures), phase, tape.modules.index(""), place.source, (), ())
    leaf = Leaf(len(tape.rows), ())
    segments = tuple(s._replace(nodes=(*s.nodes, leaf)) if s.step == step else s for s in tape.segments)
    return replace(tape, segments=segments, rows=(*tape.rows, row), signatures=(*tape.signatures, signature))


def _idle(signature: Signature) -> Signature:
    """Return an operation that does nothing and whose storages stay what they are."""
    return signature._replace(name="as_strided_", flops=0, pointwise_flops=0, recompute_flops=0, moved_bytes=0)


def _born(tape: Tape, kind: str) -> list[tuple[_Sized, int]]:
    """Return the storage classes of a kind with how many of them are born in the whole tape."""
    counts: dict[int, int] = {}
    for row, n in tape.row_counts().items():
        for which in tape.rows[row].births:
            if tape.classes[which].kind == kind:
                counts[which] = counts.get(which, 0) + n
    return [(_Sized(tape.classes[which].size_bytes), n) for which, n in counts.items()]


class _Sized(NamedTuple):
    size_bytes: int


# --- loss -------------------------------------------------------------------------------------------------------------

_LOSS = frozenset({"_log_softmax", "nll_loss_forward", "nll_loss_backward", "_log_softmax_backward_data"})


def with_fused_loss(tape: Tape, step: int) -> Changed | None:
    """Compute cross entropy in one kernel that reads the logits twice and writes their gradient once.

    Casts of the logits and the tensors between softmax and loss are gone; the logits themselves stay.
    """
    logits = _logits(tape, step)
    if logits is None:
        return None
    numel = prod(logits.shape)
    sizes = {numel * 2, numel * 4}

    def is_loss(signature: Signature) -> bool:
        whole = max((prod(m.shape) for m in (*signature.inputs, *signature.outputs)), default=0)
        name = base_name(signature.name)
        return whole == numel and (name in _LOSS or name == "_to_copy")

    def change(site: Site) -> list[NewLeaf]:
        signature = site.signature
        if not is_loss(signature):
            return [site.kept()]
        if base_name(signature.name) == "_log_softmax":
            moved = 3 * numel * min(2 if _is_cast(tape, numel) else 4, element_bytes(logits.dtype))
            new = signature._replace(name=FUSED_LOSS, moved_bytes=moved)
        else:
            new = _idle(signature)
        return [site.as_signature(new)]

    timeline = tape.memory()
    held = sum(
        h.total_bytes
        for h in timeline.held
        if (h.origin.split(".")[0] in _LOSS or h.origin == "_to_copy") and h.total_bytes // h.num_storages in sizes
    )
    return Changed(rewrite(tape, each_leaf(change), steps=[step]), held, "cross entropy in one kernel, in pieces")


def _logits(tape: Tape, step: int) -> TensorMeta | None:
    """Return the largest tensor that goes into a softmax of a loss, if it is large."""
    found: TensorMeta | None = None
    for row in tape.row_counts(step):
        signature = tape.signatures[tape.rows[row].signature]
        if base_name(signature.name) == "_log_softmax" and signature.inputs:
            meta = signature.inputs[0]
            if found is None or prod(meta.shape) > prod(found.shape):
                found = meta
    return found if found is not None and prod(found.shape) >= 1 << 20 else None


def _is_cast(tape: Tape, numel: int) -> bool:
    """Whether logits of 16 bits were cast to 32 before the loss."""
    return any(
        s.name == "_to_copy" and s.inputs and prod(s.inputs[0].shape) == numel and element_bytes(s.inputs[0].dtype) == 2
        for s in tape.signatures
    )


# --- checkpointing ----------------------------------------------------------------------------------------------------


def checkpointed(tape: Tape, step: int) -> Changed | None:
    """Recompute the forward pass of every repeated block; of a block only its input is kept."""
    block = _largest_block(tape, step)
    if block is None or any(tape.rows[row].phase == _RECOMPUTE for row in tape.row_counts(step)):
        return None
    inside = [m == block or m.startswith(f"{block}.") for m in tape.modules]

    def change(site: Site) -> list[NewLeaf]:
        row, signature = site.row, site.signature
        again = []
        if row.phase == _FORWARD and inside[row.module] and signature.collective is None:
            bare = signature._replace(host_syncs=0)
            new = Row(site.rows.signature(bare), _RECOMPUTE, row.module, row.source, (), ())
            picks = range(site.at, site.at + len(site.leaf.ints) - len(row.births) - len(row.deaths))
            again = [NewLeaf(site.rows.row(new), tuple(picks))]
        return [site.kept(), *again]

    saved = _saved_by_checkpointing(tape, step, block, inside)
    return Changed(rewrite(tape, each_leaf(change), steps=[step]), saved, f"blocks {block.replace('{}', '*')}")


def _largest_block(tape: Tape, step: int) -> str | None:
    """Return the outermost repeated module whose forward pass saves most for the backward pass."""
    sizes: dict[str, int] = {}
    repeated = {info.template for info in tape.model if info.count > 1}
    for row, n in tape.row_counts(step).items():
        place = tape.rows[row]
        template = tape.modules[place.module]
        if place.phase != _FORWARD or "{}" not in template:
            continue
        block = template[: template.index("{}") + 2]
        if block in repeated:
            sizes[block] = sizes.get(block, 0) + n * sum(
                tape.classes[c].size_bytes for c in place.births if tape.classes[c].kind == "activation"
            )
    return max(sizes, key=lambda block: sizes[block]) if sizes and max(sizes.values()) else None


def _saved_by_checkpointing(tape: Tape, step: int, block: str, inside: list[bool]) -> int:
    """Return what the peak shrinks by: all that the blocks hold but their inputs, and one block at work."""
    templates = {tape.modules[i] for i, is_in in enumerate(inside) if is_in}
    held = sum(h.total_bytes for h in tape.memory().held if h.kind == "activation" and h.module in templates)
    info = next((i for i in tape.model if i.template == block), None)
    if info is None or info.count < 2:
        return 0
    low = any(s.flops and s.inputs and element_bytes(s.inputs[0].dtype) == 2 for s in tape.signatures)
    kept_bytes = info.count * prod(info.output_shape or (0,)) * (2 if low else 4)
    return max(held - kept_bytes - held // info.count, 0)


def without_checkpointing(tape: Tape, step: int) -> Changed | None:
    """Leave recomputation out; how much more memory is held then has to be rehearsed."""
    if not any(tape.rows[row].phase == _RECOMPUTE for row in tape.row_counts(step)):
        return None

    def change(site: Site) -> list[NewLeaf]:
        if site.row.phase != _RECOMPUTE or site.signature.collective is not None:
            return [site.kept()]
        return [site.as_signature(_idle(site.signature))]

    return Changed(rewrite(tape, each_leaf(change), steps=[step]), None, "activations are kept instead")


# --- sizes and layouts ------------------------------------------------------------------------------------------------

_MULTIPLE = 64  # NVIDIA's guide: 64 elements of 16 bits fill a 128-byte line
_LARGEST_CHANGE = 0.1


def padded(tape: Tape, step: int) -> Changed | None:
    """Round sizes of weights up to a multiple of 64 where they are none."""
    sizes = _odd_sizes(tape, step)
    if not sizes:
        return None

    def meta(old: TensorMeta) -> TensorMeta:
        if not any(size in sizes for size in old.shape):
            return old
        return old._replace(shape=tuple(sizes.get(size, size) for size in old.shape))

    def change(signature: Signature, row: Row) -> Signature:
        inputs, outputs = [meta(m) for m in signature.inputs], [meta(m) for m in signature.outputs]
        new = scaled_traffic(signature, inputs, outputs)
        before, after = gemm_shape(signature), gemm_shape(new)
        if signature.flops and before is not None and after is not None:
            return new._replace(flops=round(signature.flops * prod(after) / prod(before)))
        return new

    words = ", ".join(f"{old:,} to {new:,}" for old, new in sorted(sizes.items()))
    return Changed(map_signatures(tape, change), None, words)


def _odd_sizes(tape: Tape, step: int) -> Mapping[int, int]:
    """Return sizes of products that are no multiple of 64, with the next one that is."""
    flops: dict[int, int] = {}
    whole = 0
    for row, n in tape.row_counts(step).items():
        signature = tape.signatures[tape.rows[row].signature]
        shape = gemm_shape(signature) if op_class(signature.name) == "gemm" else None
        if shape is None or not signature.flops or PHASES[tape.rows[row].phase] != "forward":
            continue
        whole += n * signature.flops
        for size in (shape.n, shape.k):
            if size >= 128 and size % _MULTIPLE:
                flops[size] = flops.get(size, 0) + n * signature.flops
    rounded = {size: -(-size // _MULTIPLE) * _MULTIPLE for size in flops if flops[size] >= 0.02 * whole}
    return {size: new for size, new in rounded.items() if new <= size * (1 + _LARGEST_CHANGE)}


def in_channels_last(tape: Tape, step: int) -> Changed | None:
    """Keep images channel by channel within a pixel, as tensor cores take them."""
    wanted = False

    def meta(old: TensorMeta) -> TensorMeta:
        if len(old.shape) != 4 or prod(old.shape) == 0 or old.stride != _contiguous(old.shape):
            return old
        _, c, h, w = old.shape
        return old._replace(stride=(h * w * c, 1, w * c, c))

    for row in tape.row_counts(step):
        signature = tape.signatures[tape.rows[row].signature]
        if (
            op_class(signature.name).startswith("conv")
            and signature.inputs
            and meta(signature.inputs[0]) != signature.inputs[0]
        ):
            wanted = True
    if not wanted:
        return None

    def change(signature: Signature, row: Row) -> Signature:
        return signature._replace(
            inputs=tuple(map(meta, signature.inputs)), outputs=tuple(map(meta, signature.outputs))
        )

    return Changed(map_signatures(tape, change), None, "model and images in torch.channels_last")


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    stride, strides = 1, []
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return tuple(reversed(strides))


def without_syncs(tape: Tape, step: int) -> Changed | None:
    """Read no value from the device within a step."""
    if not any(tape.signatures[tape.rows[row].signature].host_syncs for row in tape.row_counts(step)):
        return None
    return Changed(map_signatures(tape, lambda s, _: s._replace(host_syncs=0)), None, "values are read every n steps")
