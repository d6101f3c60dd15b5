"""Receptive field of every convolution and pooling layer, along the way that the data takes.

The arithmetic, and its source, is `trainworthy.formulas.receptive_field`. Where branches meet, the field is the hull of
both. What is not followed (transposed convolution, upsampling, matrix products, branches of different jump) is left
out, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainworthy.formulas.conv import axis_padding
from trainworthy.formulas.receptive_field import Field, grow, hull
from trainworthy.inspect.instances import module_instances
from trainworthy.tape.nodes import Leaf, fill_template, leaves
from trainworthy.tape.record import PHASES, ModuleInfo, Row, Signature, Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerField:
    """Receptive field of a layer's output, an entry for each spatial axis."""

    path: str
    class_name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    output_shape: tuple[int, ...]
    fields: tuple[Field, ...]


_Fields = tuple[Field, ...]
_CONV = ("convolution", "_convolution", "conv1d", "conv2d", "conv3d", "cudnn_convolution", "mkldnn_convolution")
_POOL = ("max_pool", "avg_pool", "max_pool2d_with_indices", "max_pool3d_with_indices")


def receptive_fields(tape: Tape, step: int | None) -> tuple[LayerField, ...]:
    """List the layers of the first forward pass of ``step`` whose receptive field is known."""
    if not any(_is_conv(signature) for signature in tape.signatures):
        return ()
    return tuple(_Walk(tape, step).run())


def _is_conv(signature: Signature) -> bool:
    return _base_name(signature) in _CONV


def _is_pool(signature: Signature) -> bool:
    return _base_name(signature).startswith(_POOL) and "backward" not in signature.name


def _base_name(signature: Signature) -> str:
    return signature.name.removeprefix("aten::").removeprefix("aten.").split(".")[0]


class _Walk:
    """Follows storages through the first forward pass; None in ``fields`` is a storage that was given up."""

    def __init__(self, tape: Tape, step: int | None) -> None:
        self.tape, self.step = tape, step
        self.infos = {i.path: i.info for i in module_instances(tape, step) if i.info is not None}
        self.fields: dict[int, _Fields | None] = {}

    def run(self) -> Iterator[LayerField]:
        tape = self.tape
        segments = [s for s in tape.segments if s.step == self.step] or list(tape.segments)
        for segment in segments:
            for leaf in leaves(segment.nodes):
                row = tape.rows[leaf.row]
                if PHASES[row.phase] == "backward":
                    return
                found = self._leaf(leaf, row, tape.signatures[row.signature])
                if found is not None:
                    yield found

    def _leaf(self, leaf: Leaf, row: Row, signature: Signature) -> LayerField | None:
        template = self.tape.modules[row.module]
        at = template.count("{}")
        path = fill_template(template, leaf.ints[:at])
        inputs = leaf.ints[at : at + len(signature.inputs)]
        at += len(inputs)
        outputs = leaf.ints[at : at + len(signature.outputs)]
        if not inputs or not outputs:
            return None
        if _is_conv(signature) or _is_pool(signature):
            return self._layer(path, signature, inputs[0], outputs[0])
        if not set(outputs) <= set(inputs):  # a view or an in-place operation leaves a storage where it is
            met = self._met(signature, inputs)
            for number, meta in zip(outputs, signature.outputs, strict=True):
                if met is not _NOTHING and number not in inputs:
                    followed = met[1] is not None and meta.shape[2:] == met[0] and len(met[0]) == len(met[1])
                    self.fields[number] = met[1] if followed else None
        return None

    def _layer(self, path: str, signature: Signature, source: int, target: int) -> LayerField | None:
        shape_in, shape_out = signature.inputs[0].shape, signature.outputs[0].shape
        info, before = self.infos.get(path), self.fields.get(source, (Field(),) * (len(shape_in) - 2))
        window = _window(info, len(shape_in) - 2) if info is not None else None
        if info is None or window is None or before is None or len(before) != len(shape_in) - 2:
            self.fields[target] = None
            return None
        kernel, stride, padding, dilation = window
        after = tuple(
            grow(field=f, kernel=k, stride=s, padding=p, dilation=d)
            for f, k, s, p, d in zip(before, kernel, stride, padding, dilation, strict=True)
        )
        self.fields[target] = after
        return LayerField(
            path=path, class_name=info.class_name, kernel=kernel, stride=stride, dilation=dilation,
            output_shape=shape_out, fields=after,
        )  # fmt: skip

    def _met(self, signature: Signature, inputs: tuple[int, ...]) -> tuple[tuple[int, ...], _Fields | None]:
        """Join the fields of the inputs; with the spatial shape that they belong to."""
        known = [(meta, self.fields[n]) for n, meta in zip(inputs, signature.inputs, strict=True) if n in self.fields]
        if not known:
            return _NOTHING
        joined, shape = known[0][1], known[0][0].shape[2:]
        for meta, fields in known[1:]:
            joined = _hull(joined, fields) if meta.shape[2:] == shape else None
        return shape, joined


_NOTHING: tuple[tuple[int, ...], _Fields | None] = ((), None)


def _hull(one: _Fields | None, two: _Fields | None) -> _Fields | None:
    if one is None or two is None:
        return None
    joined = [hull(fields=pair) for pair in zip(one, two, strict=True)]
    known = tuple(field for field in joined if field is not None)
    return known if len(known) == len(joined) else None


_Window = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _window(info: ModuleInfo, axes: int) -> _Window | None:
    """Read kernel, stride, padding before the first pixel, and dilation; None if the module does not say."""
    details = info.details
    if "kernel_size" not in details or "Transpose" in info.class_name:
        return None
    kernel = _per_axis(details["kernel_size"], axes)
    dilation = _per_axis(details.get("dilation", 1), axes)
    stride = _per_axis(details.get("stride", details["kernel_size"]), axes)
    padding = details.get("padding", 0)
    if kernel is None or dilation is None or stride is None:
        return None
    if isinstance(padding, str):
        word = "same" if padding == "same" else "valid"
        before = [
            axis_padding(padding=word, kernel=k, dilation=d).before for k, d in zip(kernel, dilation, strict=True)
        ]
        return kernel, stride, tuple(before), dilation
    pads = _per_axis(padding, axes)
    return None if pads is None else (kernel, stride, pads, dilation)


def _per_axis(value: object, axes: int) -> tuple[int, ...] | None:
    if isinstance(value, int):
        return (value,) * axes
    if isinstance(value, (tuple, list)) and len(value) == axes and all(isinstance(v, int) for v in value):
        return tuple(value)
    return None
