"""What every single module of the model did in one step, and what it is.

The tape keeps modules that are alike together. Here they are taken apart again: operations by the numbers that they
hold, descriptions (``ModuleInfo``) by working out which modules they describe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from trainworthy.tape.nodes import Leaf, Node, fill_template, num_ints
from trainworthy.tape.record import PHASES, ModuleInfo, Phase, Tape

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
    """One module: its path, what it is (None if the tape does not say) and what it did itself (None: nothing).

    Modules that did the same share the object that says so; it is not to be changed.
    """

    path: str
    info: ModuleInfo | None = None
    amounts: Amounts | None = None


def module_instances(tape: Tape, step: int | None) -> list[Instance]:
    """List the modules of the model in the order of the model, what ran outside of all modules last (path "")."""
    amounts, ran = _by_key(tape, step)
    instances: dict[str, Instance] = {}
    for key, info in _described(tape, ran):
        path = fill_template(*key)
        instances.setdefault(path, Instance(path)).info = info
    for key, amount in amounts.items():
        path = fill_template(*key)
        instance = instances.setdefault(path, Instance(path))
        if instance.amounts is None:
            instance.amounts = amount
        else:
            instance.amounts = _sum([instance.amounts, amount])
    outside = instances.pop("", None)
    return [*instances.values(), *([outside] if outside else [])]


# --- amounts ------------------------------------------------------------------------------------------------------


def _by_key(tape: Tape, step: int | None) -> tuple[dict[Key, Amounts], dict[Key, set[int]]]:
    """Return what every module did, and the signatures that it ran in the forward pass."""
    works: dict[Key, list[_Work]] = {}
    for (template, numbers, loops), work in _works(tape, step).items():
        path = tape.modules[template]
        for moved in _expanded(numbers, loops):
            works.setdefault((path, moved), []).append(work)
    # Layers did the same: each of their sums is made once.
    sums: dict[tuple[int, ...], tuple[Amounts, set[int]]] = {}
    totals: dict[Key, Amounts] = {}
    ran: dict[Key, set[int]] = {}
    for key, parts in works.items():
        same = tuple([id(work) for work in parts])
        if same not in sums:
            sums[same] = _sum([work.amounts for work in parts]), set().union(*(work.signatures for work in parts))
        totals[key], ran[key] = sums[same]
    return totals, ran


def _sum(parts: list[Amounts]) -> Amounts:
    total = Amounts()
    for part in parts:
        total.add(part)
    return total


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


_Loop = tuple[int, tuple[int, ...]]  # repetitions, and what each adds to the numbers of the module
_WorkKey = tuple[int, tuple[int, ...], tuple[_Loop, ...]]  # module template, its first numbers, loops around it


class _Work:
    """What every module of a loop does: summed once, however often the loop runs."""

    __slots__ = ("amounts", "signatures")

    def __init__(self) -> None:
        self.amounts = Amounts()
        self.signatures: set[int] = set()


def _works(tape: Tape, step: int | None) -> dict[_WorkKey, _Work]:
    """Sum the operations that belong to the same modules; folded blocks stay folded."""
    by_row = _row_amounts(tape)
    works: dict[_WorkKey, _Work] = {}

    def visit(node: Node, loops: tuple[_Loop, ...]) -> None:
        if not isinstance(node, Leaf):
            at = 0
            for child, increment in zip(node.body, node.increments, strict=True):
                end = at + num_ints(child)
                visit(child, (*((count, by[at:end]) for count, by in loops), (node.count, increment)))
                at = end
            return
        row = tape.rows[node.row]
        holes = tape.modules[row.module].count("{}")
        moving = tuple((count, by[:holes]) for count, by in loops if any(by[:holes]))
        times = math.prod(count for count, by in loops if not any(by[:holes]))
        work = works.setdefault((row.module, node.ints[:holes], moving), _Work())
        work.amounts.add(by_row[node.row], times)
        if PHASES[row.phase] in _FORWARD:
            work.signatures.add(row.signature)

    for segment in tape.segments:
        if step is None or segment.step == step:
            for node in segment.nodes:
                visit(node, ())
    return works


def _expanded(numbers: tuple[int, ...], loops: tuple[_Loop, ...]) -> list[tuple[int, ...]]:
    """List the numbers of the modules that the loops go through."""
    found = [numbers]
    for count, by in loops:
        found = [tuple(n + k * d for n, d in zip(f, by, strict=True)) for f in found for k in range(count)]
    return found


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
