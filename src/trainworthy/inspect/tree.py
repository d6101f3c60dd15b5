"""The module tree with alike modules folded: parameters, FLOPs, saved activations, intensity.

Every number of a row covers the module with all that is below it, and a row that stands for n alike modules covers all
n. The children of a row and what it did itself add up to the row; the rows of the first level add up to the total.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from trainworthy.inspect.instances import Amounts, Instance, module_instances
from trainworthy.tape.record import ModuleInfo, Tape

OUTSIDE = "(outside modules)"


@dataclass(slots=True, kw_only=True)
class ModuleRow:
    """One row of the tree: ``count`` alike modules with everything below them.

    ``parameters`` counts a tied tensor where it is first; ``tied_parameters`` are those that belong to a row before.
    ``share`` is the part of the step's FLOPs, None if the step has none.
    """

    name: str
    path: str
    class_name: str
    count: int = 1
    depth: int = 0
    output_shape: tuple[int, ...] | None = None
    parameters: int = 0
    trainable_parameters: int = 0
    tied_parameters: int = 0
    parameter_bytes: int = 0
    amounts: Amounts = field(default_factory=Amounts)
    share: float | None = None
    children: list[ModuleRow] = field(default_factory=list)

    def walk(self) -> Iterator[ModuleRow]:
        """Yield this row and all below it, top down."""
        yield self
        for child in self.children:
            yield from child.walk()

    def to_dict(self) -> dict[str, object]:
        """Return the row as plain data, without its children."""
        a = self.amounts
        return {
            "depth": self.depth, "name": self.name, "path": self.path, "class": self.class_name, "count": self.count,
            "output_shape": list(self.output_shape) if self.output_shape is not None else None,
            "parameters": self.parameters, "trainable_parameters": self.trainable_parameters,
            "tied_parameters": self.tied_parameters, "parameter_bytes": self.parameter_bytes,
            "flops_forward": a.flops_forward, "flops_backward": a.flops_backward,
            "flops_optimizer": a.flops_optimizer, "pointwise_flops": a.pointwise_flops,
            "unknown_flop_ops": a.unknown_flop_ops, "moved_bytes": a.moved_bytes,
            "activation_bytes": a.activation_bytes, "flops_per_byte": a.flops_per_byte, "share": self.share,
        }  # fmt: skip


def module_tree(tape: Tape, step: int | None) -> list[ModuleRow]:
    """Build the folded tree for one step; what ran outside of modules is the last row."""
    instances = module_instances(tape, step)
    outside = [i for i in instances if not i.path]
    root = _nest([i for i in instances if i.path])
    rows = _lift_lists(_Rows().of(root))
    rows += [ModuleRow(name=OUTSIDE, path="", class_name="", amounts=i.amounts or Amounts()) for i in outside]
    total = sum(row.amounts.flops for row in rows)
    for top in rows:
        _finish(top, depth=0, total=total)
    return rows


@dataclass(slots=True)
class _Node:
    name: str
    path: str
    instance: Instance | None = None
    children: dict[str, _Node] = field(default_factory=dict)


def _nest(instances: list[Instance]) -> _Node:
    """Put modules below the modules whose path theirs continues."""
    root = _Node("", "")
    labels = _top_labels(instances)
    owner = _unprefixed_owner(instances, labels)
    for instance in instances:
        node = root
        parts = instance.path.split(".")
        if owner is not None and instance.path != owner and parts[0] not in labels:
            parts = [owner, *parts]
        for depth, part in enumerate(parts):
            named = node.children.get(part)
            if named is None:
                start = 1 if parts[0] == owner and depth else 0
                named = node.children[part] = _Node(part, ".".join(parts[start : depth + 1]))
            node = named
        node.instance = instance
    return root


def _unprefixed_owner(instances: list[Instance], labels: set[str]) -> str | None:
    """Name the model whose parts are listed without its name: it comes right before the first of them."""
    owner = None
    for instance in instances:
        if instance.path in labels:
            owner = instance.path
        elif instance.path.split(".")[0] not in labels:
            return owner
    return None


def _top_labels(instances: list[Instance]) -> set[str]:
    """Names of outermost modules: their class, with a number if there are several."""
    return {
        i.path for i in instances if i.info is not None and "." not in i.path and _base(i.path) == i.info.class_name
    }  # fmt: skip


def _base(label: str) -> str:
    return label.partition("#")[0]


class _Rows:
    """Makes rows of nodes; of neighbours that share what they are and did, all the way down, only one is made."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], int] = {}

    def of(self, parent: _Node) -> list[ModuleRow]:
        """Return the folded rows of the children of ``parent``."""
        runs: list[list[_Node]] = []
        previous: int | None = None
        for node in parent.children.values():
            kind = self._kind(node) if node.name.isdigit() else None
            if kind is not None and kind == previous:
                runs[-1].append(node)
            else:
                runs.append([node])
            previous = kind
        return _fold([(self._row(run[0]), run) for run in runs])

    def _kind(self, node: _Node) -> int:
        """Return a number that is the same for nodes that would make the same row but for name and path."""
        instance = node.instance
        what = (None, None) if instance is None else (id(instance.info), id(instance.amounts))
        key = (*what, *[(child.name, self._kind(child)) for child in node.children.values()])
        return self._kinds.setdefault(key, len(self._kinds))

    def _row(self, node: _Node) -> ModuleRow:
        instance = node.instance
        info = (instance.info if instance else None) or ModuleInfo(template=node.path, class_name="")
        row = ModuleRow(
            name=node.name,
            path=node.path,
            class_name=info.class_name,
            output_shape=info.output_shape,
            parameters=info.parameters,
            trainable_parameters=info.trainable_parameters,
            tied_parameters=info.tied_parameters,
            parameter_bytes=info.parameter_bytes,
        )
        if instance and instance.amounts:
            row.amounts.add(instance.amounts)
        row.children = self.of(node)
        for child in row.children:
            _add(row, child)
        row.children = _lift_lists(row.children)
        return row


def _add(row: ModuleRow, other: ModuleRow) -> None:
    row.parameters += other.parameters
    row.trainable_parameters += other.trainable_parameters
    row.tied_parameters += other.tied_parameters
    row.parameter_bytes += other.parameter_bytes
    row.amounts.add(other.amounts)


def _lift_lists(rows: list[ModuleRow]) -> list[ModuleRow]:
    """Show ``h[0..11]`` instead of a list ``h``, which never runs itself, with ``[0..11]`` below it."""
    out: list[ModuleRow] = []
    for row in rows:
        is_list = row.class_name in ("", "ModuleList", "ModuleDict") and row.children and row.count == 1
        if is_list and row.output_shape is None and _children_are_all(row):
            for child in row.children:
                child.name = f"{row.name}{child.name}" if child.name[0] == "[" else f"{row.name}.{child.name}"
            out += row.children
        else:
            out.append(row)
    return out


def _children_are_all(row: ModuleRow) -> bool:
    below = sum(child.amounts.num_ops for child in row.children)
    return below == row.amounts.num_ops and sum(child.parameters for child in row.children) == row.parameters


# --- folding ------------------------------------------------------------------------------------------------------


def _fold(units: list[tuple[ModuleRow, list[_Node]]]) -> list[ModuleRow]:
    """Join neighbours with numbers for names that are alike all the way down; a row stands for each of its nodes."""
    out: list[ModuleRow] = []
    previous: object = None
    for row, nodes in units:
        key = _alike(row) if row.name.isdigit() else None
        if len(nodes) > 1:
            _multiply(row, len(nodes))
            _name_range(row, nodes[-1].name)
        if key is not None and key == previous:
            _join(out[-1], row)
        else:
            out.append(row)
        previous = key
    for row in out:
        first, _, last = row.name.partition("..")
        if first.isdigit():
            row.name = f"[{first}..{last}]" if last else f"[{first}]"
    return out


def _multiply(row: ModuleRow, times: int) -> None:
    row.count *= times
    row.parameters *= times
    row.trainable_parameters *= times
    row.tied_parameters *= times
    row.parameter_bytes *= times
    row.amounts.add(row.amounts, times - 1)
    for child in row.children:
        _multiply(child, times)


def _name_range(row: ModuleRow, last: str) -> None:
    row.name = f"{row.name.partition('..')[0]}..{last}"
    row.path = re.sub(r"\d+(\.\.\d+)?$", row.name, row.path)


def _alike(row: ModuleRow) -> tuple[object, ...]:
    a = row.amounts
    return (
        row.class_name, row.output_shape, row.parameters, row.tied_parameters, a.flops_forward, a.flops_backward,
        a.moved_bytes, a.activation_bytes, tuple((child.name, child.count, _alike(child)) for child in row.children),
    )  # fmt: skip


def _join(into: ModuleRow, row: ModuleRow) -> None:
    _name_range(into, row.name.rpartition("..")[2])
    _join_alike(into, row)


def _join_alike(into: ModuleRow, row: ModuleRow) -> None:
    into.count += row.count
    _add(into, row)
    for mine, other in zip(into.children, row.children, strict=True):
        _join_alike(mine, other)


def _finish(row: ModuleRow, *, depth: int, total: int) -> None:
    row.depth = depth
    row.share = row.amounts.flops / total if total else None
    for child in row.children:
        _finish(child, depth=depth + 1, total=total)
