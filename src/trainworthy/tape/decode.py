"""Read a tape from values that came out of JSON, believing none of them.

Whatever is wrong (a type, an index out of range, a storage that dies before it was born) is one ``TapeError`` that says
where. What is returned can be walked, unfolded and summed without further checks.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from trainworthy.errors import TapeError
from trainworthy.tape.encode import BIRTHS, MAX_DEPTH, ints_of_rows
from trainworthy.tape.fold import MAX_NESTING
from trainworthy.tape.lifetimes import check_lifetimes
from trainworthy.tape.nodes import Leaf, Node, Repeat
from trainworthy.tape.record import (
    COLLECTIVE_KINDS,
    KINDS,
    PHASES,
    Collective,
    ModuleInfo,
    ParameterGroup,
    ProcessGroup,
    Row,
    Segment,
    Signature,
    Source,
    StorageClass,
    Tape,
    TensorMeta,
)

_MAX_INT = (1 << 63) - 1
_FIELDS = {
    "tensors", "signatures", "sources", "modules", "classes", "rows", "segments", "device", "granularity_bytes",
    "model", "parameter_groups", "groups", "notes",
}  # fmt: skip


def decode_tape(value: Any) -> Tape:
    """Build the tape that ``encode_tape`` took apart."""
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise TapeError("The content is not that of a tape: its fields are others.")
    metas = [_meta(v, f"tensors[{i}]") for i, v in _items(value["tensors"], "tensors")]
    sources = tuple(_source(v, f"sources[{i}]") for i, v in _items(value["sources"], "sources"))
    modules = tuple(_template(v, f"modules[{i}]") for i, v in _items(value["modules"], "modules"))
    groups = tuple(_process_group(v, f"groups[{i}]") for i, v in _items(value["groups"], "groups"))
    signatures = tuple(
        _signature(v, f"signatures[{i}]", metas, len(groups)) for i, v in _items(value["signatures"], "signatures")
    )
    places = (len(sources), len(modules))
    classes = tuple(_class(v, f"classes[{i}]", *places) for i, v in _items(value["classes"], "classes"))
    limits = (len(signatures), len(PHASES), len(modules), len(sources))
    rows = tuple(_row(v, f"rows[{i}]", limits, len(classes)) for i, v in _items(value["rows"], "rows"))
    reader = _NodeReader(ints_of_rows(rows, signatures, modules))
    segments = tuple(reader.segment(v, f"segments[{i}]") for i, v in _items(value["segments"], "segments"))
    tape = Tape(
        signatures=signatures, sources=sources, modules=modules, classes=classes, rows=rows, segments=segments,
        device=_text(value["device"], "device"),
        granularity_bytes=_int(value["granularity_bytes"], "granularity_bytes", 1),
        model=tuple(_module(v, f"model[{i}]") for i, v in _items(value["model"], "model")),
        parameter_groups=tuple(
            _group(v, f"parameter_groups[{i}]") for i, v in _items(value["parameter_groups"], "parameter_groups")
        ),
        groups=groups, notes=_dict(value["notes"], "notes"),
    )  # fmt: skip
    check_lifetimes(tape, reader.lengths)
    return tape


# --- plain values ------------------------------------------------------------------------------------------------


def _refuse(value: Any, what: str, wanted: str) -> NoReturn:
    if isinstance(value, str):
        shown = repr(value) if len(value) <= 60 else f"{value[:57]!r}..."
    else:
        shown = str(value) if isinstance(value, (int, float)) else f"a {type(value).__name__}"
    raise TapeError(f"{what} is {shown}, not {wanted}.")


def _int(value: Any, what: str, low: int = 0, high: int = _MAX_INT) -> int:
    if type(value) is not int or not low <= value <= high:
        _refuse(value, what, f"a whole number from {low} to {high}")
    return value


def _index(value: Any, what: str, length: int) -> int:
    if type(value) is not int or not 0 <= value < length:
        _refuse(value, what, f"a place in a table of {length}")
    return value


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        _refuse(value, what, "text")
    return value


def _bool(value: Any, what: str) -> bool:
    if type(value) is not bool:
        _refuse(value, what, "true or false")
    return value


def _list(value: Any, what: str, length: int | None = None) -> list[Any]:
    if type(value) is not list:
        _refuse(value, what, "a list")
    if length is not None and len(value) != length:
        raise TapeError(f"{what} has {len(value)} entries, not {length}.")
    return value


def _items(value: Any, what: str) -> enumerate[Any]:
    return enumerate(_list(value, what))


def _ints(value: Any, what: str, low: int = 0) -> tuple[int, ...]:
    return tuple([_int(v, what, low) for v in _list(value, what)])


def _indices(value: Any, what: str, length: int) -> tuple[int, ...]:
    return tuple([_index(v, what, length) for v in _list(value, what)])


def _free(value: Any, what: str, depth: int = 0) -> Any:
    """Read what ``encode_value`` wrote."""
    if depth > MAX_DEPTH:
        raise TapeError(f"{what} is nested more than {MAX_DEPTH} levels deep.")
    if value is None or type(value) in {bool, float, str}:
        return value
    if type(value) is int:
        return _int(value, what, -_MAX_INT)
    if type(value) is list:
        return [_free(item, what, depth + 1) for item in value]
    if type(value) is dict and value.keys() == {"tuple"}:
        return tuple([_free(item, what, depth + 1) for item in _list(value["tuple"], what)])
    if type(value) is dict and value.keys() == {"dict"} and type(value["dict"]) is dict:
        return {key: _free(item, what, depth + 1) for key, item in value["dict"].items()}
    _refuse(value, what, "a value of notes")


def _dict(value: Any, what: str) -> dict[str, Any]:
    found = _free(value, what)
    if type(found) is not dict:
        _refuse(found, what, "a dict")
    return found


# --- tables --------------------------------------------------------------------------------------------------------


def _meta(value: Any, what: str) -> TensorMeta:
    shape, stride, dtype, device = _list(value, what, 4)
    meta = TensorMeta(_ints(shape, what), _ints(stride, what), _text(dtype, what), _text(device, what))
    if len(meta.stride) not in {0, len(meta.shape)}:  # a sparse tensor has no strides
        raise TapeError(f"{what} has {len(meta.shape)} sizes and {len(meta.stride)} strides.")
    return meta


def _source(value: Any, what: str) -> Source:
    path, line, function, library = _list(value, what, 4)
    via = None if library is None else _text(library, what)
    return Source(_text(path, what), _int(line, what), _text(function, what), via)


def _template(value: Any, what: str) -> str:
    # Templates are filled by str.format: nothing but bare holes may be in them.
    rest = _text(value, what).replace("{}", "")
    if "{" in rest or "}" in rest:
        _refuse(value, what, "a module path with '{}' for numbers")
    return str(value)


def _signature(value: Any, what: str, metas: list[TensorMeta], num_groups: int) -> Signature:
    name, inputs, outputs, flops, pointwise, recompute, moved, syncs, collective = _list(value, what, 9)
    return Signature(
        _text(name, what),
        tuple([metas[i] for i in _indices(inputs, what, len(metas))]),
        tuple([metas[i] for i in _indices(outputs, what, len(metas))]),
        None if flops is None else _int(flops, what),
        _int(pointwise, what), _int(recompute, what), _int(moved, what), _int(syncs, what),
        None if collective is None else _collective(collective, what, num_groups),
    )  # fmt: skip


def _collective(value: Any, what: str, num_groups: int) -> Collective:
    kind, group, bytes_in, bytes_out, dtype, reduce_op, peer, is_async = _list(value, what, 8)
    if kind not in COLLECTIVE_KINDS:
        _refuse(kind, what, f"one of {', '.join(COLLECTIVE_KINDS)}")
    return Collective(
        kind, _index(group, what, num_groups), _int(bytes_in, what), _int(bytes_out, what), _text(dtype, what),
        None if reduce_op is None else _text(reduce_op, what), None if peer is None else _int(peer, what),
        _bool(is_async, what),
    )  # fmt: skip


def _process_group(value: Any, what: str) -> ProcessGroup:
    name, ranks, backend = _list(value, what, 3)
    return ProcessGroup(_text(name, what), _ints(ranks, what), _text(backend, what))


def _class(value: Any, what: str, num_sources: int, num_modules: int) -> StorageClass:
    device, kind, size_bytes, origin, source, module = _list(value, what, 6)
    if kind not in KINDS:
        _refuse(kind, what, f"one of {', '.join(KINDS)}")
    return StorageClass(
        _text(device, what), kind, _int(size_bytes, what), _text(origin, what),
        _index(source, what, num_sources), _index(module, what, num_modules),
    )  # fmt: skip


def _row(value: Any, what: str, limits: tuple[int, ...], num_classes: int) -> Row:
    *places, births, deaths = _list(value, what, 6)
    signature, phase, module, source = (_index(v, what, n) for v, n in zip(places, limits, strict=True))
    return Row(
        signature, phase, module, source,
        _indices(births, what, num_classes), _indices(deaths, what, num_classes),
    )  # fmt: skip


def _module(value: Any, what: str) -> ModuleInfo:
    template, name, count, first, last, own, trainable, tied, size, shape, details = _list(value, what, 11)
    info = ModuleInfo(
        template=_template(template, what), class_name=_text(name, what), count=_int(count, what, 1),
        first=_ints(first, what), last=_ints(last, what), parameters=_int(own, what),
        trainable_parameters=_int(trainable, what), tied_parameters=_int(tied, what),
        parameter_bytes=_int(size, what), output_shape=None if shape is None else _ints(shape, what),
        details=_dict(details, what),
    )  # fmt: skip
    if not len(info.first) == len(info.last) == info.template.count("{}"):
        raise TapeError(f"{what} has other numbers than its path {info.template!r} has holes.")
    return info


def _group(value: Any, what: str) -> ParameterGroup:
    optimizer, dtype, device, layout, tensors, elements = _list(value, what, 6)
    return ParameterGroup(
        optimizer=_text(optimizer, what), dtype=_text(dtype, what), device=_text(device, what),
        layout=_text(layout, what), tensors=_int(tensors, what), elements=_int(elements, what),
    )  # fmt: skip


# --- nodes ---------------------------------------------------------------------------------------------------------


class _Read(NamedTuple):
    """A node and the number of its integers."""

    node: Node
    size: int


class _NodeReader:
    """Reads nodes in the order in which they were written: storage numbers are differences."""

    def __init__(self, lengths: list[tuple[int, int, int, int, int]]) -> None:
        self.lengths = lengths
        self.newest = 0

    def segment(self, value: Any, what: str) -> Segment:
        """Read the operations of one step."""
        step, complete, nodes = _list(value, what, 3)
        read = tuple([self._node(v, what, 0) for v in _list(nodes, what)])
        return Segment(_int(step, what), _bool(complete, what), tuple([r.node for r in read]))

    def _node(self, value: Any, what: str, depth: int) -> _Read:
        if type(value) is list:
            return self._leaf(value, what)
        if type(value) is not dict or value.keys() != {"times", "body", "plus"}:
            _refuse(value, what, "an operation or a block")
        if depth >= MAX_NESTING:
            raise TapeError(f"{what}: blocks are nested more than {MAX_NESTING} levels deep.")
        count = _int(value["times"], f"{what}: the number of repetitions", 1)
        body = [self._node(v, what, depth + 1) for v in _list(value["body"], what)]
        if not body:
            raise TapeError(f"{what}: a block repeats nothing.")
        plus = _list(value["plus"], f"{what}: the increments", len(body))
        increments = tuple([_ints(p, f"{what}: an increment", -_MAX_INT) for p in plus])
        for child, increment in zip(body, increments, strict=True):
            if child.size != len(increment):
                raise TapeError(f"{what}: {len(increment)} increments for {child.size} integers.")
        node = Repeat(count, tuple([child.node for child in body]), increments)
        return _Read(node, sum(child.size for child in body))

    def _leaf(self, value: list[Any], what: str) -> _Read:
        if not value:
            raise TapeError(f"{what}: an operation has no row.")
        row = _index(value[0], f"{what}: a row", len(self.lengths))
        holes, *lengths = self.lengths[row]
        if len(value) != 1 + holes + sum(lengths):
            raise TapeError(f"{what}: {len(value) - 1} integers, not {holes + sum(lengths)}, for row {row}.")
        ints = [_int(v, f"{what}: a module number") for v in value[1 : 1 + holes]]
        at, newest = 1 + holes, self.newest
        for which, length in enumerate(lengths):
            number = self.newest
            for difference in value[at : at + length]:
                number = _int(number + _int(difference, what, -_MAX_INT), f"{what}: a storage number")
                ints.append(number)
                if which == BIRTHS and number > newest:
                    newest = number
            at += length
        self.newest = newest
        return _Read(Leaf(row, tuple(ints)), len(ints))
