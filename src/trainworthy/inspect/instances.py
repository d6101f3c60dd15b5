"""What every single module of the model did in one step, and what it is.

The tape keeps modules that are alike together. Here they are taken apart again: operations by the numbers that they
hold, descriptions (``ModuleInfo``) by working out which modules they describe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from trainworthy.tape.record import PHASES, Leaf, ModuleInfo, Node, Phase, Repeat, Tape, fill_template, num_ints

Key = tuple[str, tuple[int, ...]]  # module template and the numbers that fill it

_FORWARD: frozenset[Phase] = frozenset({"data", "forward", "loss"})
_BACKWARD: frozenset[Phase] = frozenset({"recompute", "backward"})


@dataclass(slots=True)
class Amounts:
    """What operations add up to. FLOPs are those of dot products; phase "other" is left out of them."""

    flops_forward: int = 0
    flops_backward: int = 0
    flops_optimizer: int = 0
    pointwise_flops: int = 0
    moved_bytes: int = 0
    activation_bytes: int = 0
    unknown_flop_ops: int = 0
    num_ops: int = 0

    @property
    def flops(self) -> int:
        """FLOPs of dot products in all phases of the step."""
        return self.flops_forward + self.flops_backward + self.flops_optimizer

    @property
    def flops_per_byte(self) -> float | None:
        """Arithmetic intensity: all FLOPs, pointwise ones included, per byte moved by eager operations."""
        return (self.flops + self.pointwise_flops) / self.moved_bytes if self.moved_bytes else None

    def add(self, other: Amounts, times: int = 1) -> None:
        """Add ``other``, ``times`` over."""
        self.flops_forward += times * other.flops_forward
        self.flops_backward += times * other.flops_backward
        self.flops_optimizer += times * other.flops_optimizer
        self.pointwise_flops += times * other.pointwise_flops
        self.moved_bytes += times * other.moved_bytes
        self.activation_bytes += times * other.activation_bytes
        self.unknown_flop_ops += times * other.unknown_flop_ops
        self.num_ops += times * other.num_ops


@dataclass(slots=True)
class Instance:
    """One module: its path, what it is (None if the tape does not say) and what it did itself."""

    path: str
    info: ModuleInfo | None = None
    amounts: Amounts = field(default_factory=Amounts)


def module_instances(tape: Tape, step: int | None) -> list[Instance]:
    """List the modules of the model in the order of the model, what ran outside of all modules last (path "")."""
    amounts, ran = _by_key(tape, step)
    instances: dict[str, Instance] = {}
    for key, info in _described(tape, ran):
        path = fill_template(*key)
        instances.setdefault(path, Instance(path)).info = info
    for key, amount in amounts.items():
        path = fill_template(*key)
        instances.setdefault(path, Instance(path)).amounts.add(amount)
    outside = instances.pop("", None)
    return [*instances.values(), *([outside] if outside else [])]


# --- amounts ------------------------------------------------------------------------------------------------------


def _by_key(tape: Tape, step: int | None) -> tuple[dict[Key, Amounts], dict[Key, set[int]]]:
    """Return what every module did, and the signatures that it ran in the forward pass."""
    by_row = _row_amounts(tape)
    totals: dict[Key, Amounts] = {}
    ran: dict[Key, set[int]] = {}
    for segment in tape.segments:
        if step is not None and segment.step != step:
            continue
        for node in segment.nodes:
            for (index, numbers), times in _module_counts(tape, node).items():
                row = tape.rows[index]
                key = (tape.modules[row.module], numbers)
                totals.setdefault(key, Amounts()).add(by_row[index], times)
                signatures = ran.setdefault(key, set())
                if PHASES[row.phase] in _FORWARD:
                    signatures.add(row.signature)
    return totals, ran


def _row_amounts(tape: Tape) -> list[Amounts]:
    amounts = []
    for row in tape.rows:
        signature, phase = tape.signatures[row.signature], PHASES[row.phase]
        flops = signature.flops or 0
        classes = [tape.classes[which] for which in row.births]
        amounts.append(
            Amounts(
                flops_forward=flops if phase in _FORWARD else 0,
                flops_backward=flops if phase in _BACKWARD else 0,
                flops_optimizer=flops if phase == "optimizer" else 0,
                pointwise_flops=signature.pointwise_flops if phase != "other" else 0,
                moved_bytes=signature.moved_bytes if phase != "other" else 0,
                activation_bytes=sum(c.size_bytes for c in classes if c.kind == "activation"),
                unknown_flop_ops=int(signature.flops is None),
                num_ops=1,
            )
        )
    return amounts


_Place = tuple[int, tuple[int, ...]]  # row, numbers of the module


def _module_counts(tape: Tape, node: Node) -> dict[_Place, int]:
    """Count the operations of ``node`` by row and module; only numbers that change cost anything."""
    counts: dict[_Place, int] = {}
    for row, numbers, _, times in _places(tape, node):
        counts[row, numbers] = counts.get((row, numbers), 0) + times
    return counts


def _places(tape: Tape, node: Node) -> list[tuple[int, tuple[int, ...], int, int]]:
    """List (row, module numbers, their place among the node's integers, times)."""
    if isinstance(node, Leaf):
        holes = tape.modules[tape.rows[node.row].module].count("{}")
        return [(node.row, node.ints[:holes], 0, 1)]
    return _repeated_places(tape, node)


def _repeated_places(tape: Tape, node: Repeat) -> list[tuple[int, tuple[int, ...], int, int]]:
    out = []
    offset = 0
    for child, increment in zip(node.body, node.increments, strict=True):
        for row, numbers, place, times in _places(tape, child):
            by = increment[place : place + len(numbers)]
            if any(by):
                for k in range(node.count):
                    moved = tuple(n + k * d for n, d in zip(numbers, by, strict=True))
                    out.append((row, moved, offset + place, times))
            else:
                out.append((row, numbers, offset + place, times * node.count))
        offset += num_ints(child)
    return out


# --- descriptions -------------------------------------------------------------------------------------------------


def _described(tape: Tape, ran: dict[Key, set[int]]) -> list[tuple[Key, ModuleInfo]]:
    """Pair modules with their descriptions, in the order of the model."""
    by_template: dict[str, list[ModuleInfo]] = {}
    for info in tape.model:
        by_template.setdefault(info.template, []).append(info)
    numbers_of: dict[str, set[tuple[int, ...]]] = {}
    for template, numbers in ran:
        numbers_of.setdefault(template, set()).add(numbers)
    described = []
    for template, infos in by_template.items():
        possible = _possible_numbers(template, numbers_of)
        found = _members(infos, possible, {n: ran[template, n] for n in possible if (template, n) in ran})
        described += [((template, numbers), info) for numbers, info in sorted(found.items(), key=lambda item: item[0])]
    return described


def _possible_numbers(template: str, numbers_of: dict[str, set[tuple[int, ...]]]) -> set[tuple[int, ...]]:
    """Collect the numbers of modules that ran, or that had something beside or below them that did."""
    holes = template.count("{}")
    if not holes:
        return set()
    prefix = template[: template.rindex("{}") + 2]
    return {
        numbers[:holes]
        for other, found in numbers_of.items()
        if other == prefix or other.startswith(f"{prefix}.")
        for numbers in found
    }


def _members(
    infos: list[ModuleInfo], possible: set[tuple[int, ...]], ran: dict[tuple[int, ...], set[int]]
) -> dict[tuple[int, ...], ModuleInfo]:
    """Work out which numbers each of the descriptions of one template stands for.

    The first and the last module of a description are known, and so is their number. A module between them belongs
    to it if it ran the same operations on the same shapes; failing that, an even progression decides, then order.
    """
    if len(infos) == 1 and len(possible) == infos[0].count:
        return dict.fromkeys(sorted(possible), infos[0])
    members: dict[tuple[int, ...], ModuleInfo] = {}
    left = {id(info): info.count for info in infos}

    def assign(numbers: tuple[int, ...], info: ModuleInfo) -> None:
        if numbers not in members and left[id(info)] > 0:
            members[numbers] = info
            left[id(info)] -= 1

    for info in infos:
        assign(info.first, info)
        assign(info.last, info)
    between = {n: [i for i in infos if i.first < n < i.last] for n in sorted(possible - set(members))}
    for numbers, fitting in between.items():
        alike = [i for i in fitting if ran.get(numbers) and ran[numbers] in (ran.get(i.first), ran.get(i.last))]
        if len(alike) == 1:
            assign(numbers, alike[0])
    for info in sorted(infos, key=lambda i: i.count):
        for numbers in _progression(info):
            assign(numbers, info)
    for numbers, fitting in between.items():
        open_ones = [i for i in fitting if left[id(i)]]
        if open_ones:
            assign(numbers, min(open_ones, key=lambda i: (i.last, i.first)))
    return members


def _progression(info: ModuleInfo) -> list[tuple[int, ...]]:
    """Fill in what lies between the first and the last module, if evenly spaced or a full grid; else nothing."""
    steps = info.count - 1
    if steps < 2:
        return []
    spans = [b - a for a, b in zip(info.first, info.last, strict=True)]
    if sum(1 for s in spans if s) == 1 and all(s % steps == 0 for s in spans):
        return [tuple(a + k * s // steps for a, s in zip(info.first, spans, strict=True)) for k in range(info.count)]
    size = 1
    for span in spans:
        size *= span + 1
    if size == info.count and all(s >= 0 for s in spans):
        return list(product(*(range(a, a + s + 1) for a, s in zip(info.first, spans, strict=True))))
    return []
