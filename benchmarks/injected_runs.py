"""Mistakes in data loading, ranks, checkpoints, schedules and seeds, as the catalogue of pitfalls has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.injected_loops import OPTIMIZER, SCHEDULER, only
from benchmarks.injected_program import Injection, Program, called, keyword, kind, receiver


@kind("sampler never told the epoch", "P106", "TW402")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("set_epoch"):
        if only(program, call, "set_epoch") and "DistributedSampler" in program.text:
            yield Injection(line=statement.lineno, edits=(program.drop(statement),))


@kind("every rank reads the same batches", "P105", "TW409", "TW439")
def _(program: Program) -> Iterator[Injection]:
    if "DistributedSampler(" not in program.text or "DistributedDataParallel" not in program.text:
        return
    for call in program.calls("DataLoader"):
        one = keyword(call, "sampler")
        if one is not None and not keyword(call, "batch_sampler") and "train" in ast.unparse(call):
            yield Injection(line=call.lineno, edits=(program.without(call, one),))


@kind("training data never shuffled", "P090", "TW506")
def _(program: Program) -> Iterator[Injection]:
    if not any(True for _ in program.calls("backward")) or SHUFFLED.search(program.text):
        return
    for call in program.calls("DataLoader"):
        one = keyword(call, "shuffle")
        target = ast.unparse(getattr(program.statement(call), "targets", [call])[0])
        held_out = re.search(r"val|test|eval|train=False", f"{target} {ast.unparse(call)}", re.IGNORECASE)
        if one is not None and isinstance(one.value, ast.Constant) and one.value.value is True and not held_out:
            yield Injection(line=call.lineno, edits=(program.without(call, one),))


SHUFFLED = re.compile(
    r"random_split\(|\bshuffle\(|train_test_split|randperm"
)  # whoever does so has an order of his own


@kind("best weights are not copied", "P168", "TW601")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("deepcopy"):
        if len(call.args) == 1 and ast.unparse(call.args[0]).endswith(".state_dict()"):
            yield Injection(line=call.lineno, edits=(program.put(call, program.of(call.args[0])),))


@kind("checkpoint without the optimizer", "P169", "TW652")
def _(program: Program) -> Iterator[Injection]:
    yield from _left_out_of_checkpoint(program, OPTIMIZER)


@kind("checkpoint without the schedule", "P169", "TW651")
def _(program: Program) -> Iterator[Injection]:
    yield from _left_out_of_checkpoint(program, SCHEDULER)


@kind("checkpoint without the scaler", "P169", "TW653")
def _(program: Program) -> Iterator[Injection]:
    yield from _left_out_of_checkpoint(program, re.compile("scaler", re.IGNORECASE))


def _left_out_of_checkpoint(program: Program, which: re.Pattern[str]) -> Iterator[Injection]:
    """Leave an entry out of a checkpoint, and what reads it."""
    for node in program.nodes:
        if not isinstance(node, ast.Dict) or len(node.keys) < 2:
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            whose = ast.unparse(value)
            if key is None or not whose.endswith(".state_dict()") or not which.search(whose):
                continue
            loads = [
                one for one, call in program.statements("load_state_dict") if which.search(receiver(call))
            ]  # what cannot be loaded any more
            if loads and any("load_state_dict" in ast.unparse(one) for one in loads):
                start, end = program.span(key)[0], program.span(value)[1]
                tail = len(program.source[end:]) - len(program.source[end:].lstrip(b" ,"))
                edits = ((start, end + tail, b""), *(program.drop(one) for one in loads))
                yield Injection(line=node.lineno, edits=edits)


@kind("rank read as text", "P116", "TW416")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("int"):
        if len(call.args) == 1 and re.search(r"environ.*(RANK|WORLD_SIZE)", ast.unparse(call.args[0])):
            yield Injection(line=call.lineno, edits=(program.put(call, program.of(call.args[0])),))


@kind("every rank saves", "P175", "TW423")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("save"):
        if receiver(call) != "torch":
            continue
        guards = [one for one in program.around(call) if isinstance(one, ast.If)]
        for one in guards:
            if re.fullmatch(r".*(rank|is_main|is_master|master_process)\w*(\(\))?( == 0)?", ast.unparse(one.test)):
                yield Injection(line=call.lineno, edits=(program.put(one.test, "True"),))
                break


@kind("schedule as long as the samples", "P084", "TW348", "TW320")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult) or "epoch" not in ast.unparse(node):
            continue
        outer = [one for one in program.around(node) if isinstance(one, ast.Assign | ast.keyword)]
        names = [ast.unparse(one.targets[0]) if isinstance(one, ast.Assign) else str(one.arg) for one in outer[:1]]
        if not any(re.search(r"steps|T_max|total|iters", one) for one in names) or not SCHEDULER.search(program.text):
            continue
        for side in (node.left, node.right):
            found = re.fullmatch(r"len\((\w*loader\w*)\)", ast.unparse(side))
            if found:
                text = f"len({found[1]}.dataset)"
                yield Injection(line=node.lineno, edits=(program.put(side, text),))


@kind("one generator is not seeded", "P161", "TW660")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("seed"):
        if receiver(call).endswith("random") and "torch.manual_seed" in program.text:
            module = receiver(call)
            used = re.search(rf"\b{re.escape(module)}\.(?!seed)\w+\(", program.text)
            if used and only(program, call, "seed"):
                yield Injection(line=statement.lineno, edits=(program.drop(statement),))


@kind("target network starts apart", "P168", "TW317")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("load_state_dict"):
        if (
            "target" in receiver(call)
            and len(call.args) == 1
            and called_on_other(call)
            and (
                isinstance(program.scope(call), ast.FunctionDef)
                and getattr(program.scope(call), "name", "") == "__init__"
            )
        ):
            yield Injection(line=statement.lineno, edits=(program.drop(statement),))


def called_on_other(call: ast.Call) -> bool:
    """Say whether a state is loaded that another network gives."""
    return ast.unparse(call.args[0]).endswith(".state_dict()")


@kind("optimizer lacks a part's parameters", "P056", "TW353", "TW355")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
            continue
        parts = all(
            re.fullmatch(r"list\([\w.]+\.parameters\(\)\)", ast.unparse(one)) for one in (node.left, node.right)
        )
        outer = [called(one) for one in program.around(node) if isinstance(one, ast.Call)]
        if parts and any(re.search("Adam|SGD|RMSprop|optim", one, re.IGNORECASE) for one in outer):
            yield Injection(line=node.lineno, edits=(program.put(node, program.of(node.left)),))
