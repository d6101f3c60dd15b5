"""Mistakes in training and evaluation loops, as the catalogue of pitfalls has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.injected_program import Injection, Program, called, has, kind, receiver

LIGHTNING = re.compile(r"def validation_step|LightningModule")  # its trainer turns gradients off
VALIDATION = re.compile(r"val|test|eval", re.IGNORECASE)  # sampling is no evaluation: what it calls is quiet itself
EVALUATION = re.compile(r"val|test|eval|infer|predict|sample|generate", re.IGNORECASE)
OPTIMIZER = re.compile(r"opt", re.IGNORECASE)
SCHEDULER = re.compile(r"sched", re.IGNORECASE)
LOSS = re.compile(r"loss|err|cost", re.IGNORECASE)


def only(program: Program, call: ast.Call, name: str) -> bool:
    """Say whether no other call in the file is of this method."""
    return sum(1 for _ in program.calls(name)) == 1 and bool(call)


def _alone(program: Program, call: ast.Call, *names: str) -> bool:
    """Say whether no other call in the function is of these methods."""
    return sum(1 for _ in program.calls(*names, within=program.scope(call))) == 1


@kind("gradients never cleared", "P053", "TW301")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("zero_grad"):
        scope = program.scope(call)
        if _alone(program, call, "zero_grad") and has(scope, "backward") and has(scope, "step"):
            yield Injection(line=statement.lineno, edits=(program.drop(statement),))


@kind("gradients cleared once, before the loop", "P053", "TW301")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("zero_grad"):
        loops = program.loops(call)
        if loops and _alone(program, call, "zero_grad") and has(loops[0], "backward") and has(loops[0], "step"):
            yield Injection(
                line=statement.lineno, edits=(program.drop(statement), program.before(loops[0], program.of(statement)))
            )


@kind("gradients cleared between backward and step", "P054", "TW312")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("zero_grad"):
        block = program.block(statement)
        later = block[block.index(statement) + 1 :]
        backward = next((i for i, one in enumerate(later) if has(one, "backward")), None)
        if backward is None or not isinstance(later[backward], ast.Expr):
            continue
        step = next((one for one in later[backward + 1 :] if isinstance(one, ast.Expr) and has(one, "step")), None)
        if step is not None and OPTIMIZER.search(receiver(call)):
            yield Injection(
                line=statement.lineno, edits=(program.drop(statement), program.before(step, program.of(statement)))
            )


@kind("gradients cleared in every micro-batch", "P054", "TW342")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("zero_grad"):
        guard, loops = program.parents[statement], program.loops(call)
        window = isinstance(guard, ast.If) and "%" in ast.unparse(guard.test) and has(guard, "step")
        if window and loops and not has(guard, "backward") and has(loops[0], "backward"):
            first = loops[0].body[0]
            edits = (program.drop(statement), program.before(first, program.of(statement)))
            yield Injection(line=statement.lineno, edits=edits)


@kind("clipped after the step", "P060", "TW310")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("clip_grad_norm_", "clip_grad_value_"):
        statement = program.statement(call)
        block = program.block(statement)
        later = block[block.index(statement) + 1 :]
        step = next((one for one in later if isinstance(one, ast.Expr) and has(one, "step")), None)
        if step is not None and not SCHEDULER.search(program.of(step)):
            yield Injection(
                line=statement.lineno, edits=(program.drop(statement), program.after(step, program.of(statement)))
            )


@kind("clipped before the scaler unscales", "P061", "TW209")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("unscale_"):
        if has(program.scope(call), "clip_grad_norm_") and _alone(program, call, "unscale_"):
            yield Injection(line=statement.lineno, edits=(program.drop(statement),))


@kind("optimizer steps around the scaler", "P142", "TW208")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("step"):
        if "scaler" in receiver(call) and len(call.args) == 1 and isinstance(call.args[0], ast.Name | ast.Attribute):
            if has(program.scope(call), "unscale_"):
                continue  # then the step is only not skipped when it should be
            text = f"{program.of(call.args[0])}.step()"
            yield Injection(line=statement.lineno, edits=(program.put(statement, text),))


@kind("scheduler steps before the optimizer", "P067", "TW311")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("step"):
        block = program.block(statement)
        earlier = block[: block.index(statement)]
        if SCHEDULER.search(receiver(call)) and not SCHEDULER.search(ast.unparse(program.scope(call).body[0])):
            step = next((one for one in earlier if isinstance(one, ast.Expr) and _steps(one)), None)
            if step is not None:
                yield Injection(
                    line=step.lineno, edits=(program.drop(statement), program.before(step, program.of(statement)))
                )


def _steps(statement: ast.Expr) -> bool:
    call = statement.value
    return isinstance(call, ast.Call) and called(call) == "step" and bool(OPTIMIZER.search(ast.unparse(call)))


@kind("epoch's schedule stepped with every batch", "P068", "TW320", "TW348")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("step"):
        block = program.block(statement)
        loops = [one for one in block[: block.index(statement)] if isinstance(one, ast.For) and has(one, "backward")]
        if SCHEDULER.search(receiver(call)) and not call.args and loops:
            last = loops[-1].body[-1]
            yield Injection(line=last.lineno, edits=(program.drop(statement), program.after(last, program.of(call))))


TESTS = re.compile(r"^ *(import|from) (unittest|pytest)", re.MULTILINE)  # they do some things wrong on purpose


@kind("evaluated in training mode", "P074", "TW356", "TW357", "TW313")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("eval"):
        scope = program.scope(call)
        if call.args or call.keywords or TESTS.search(program.text):
            continue
        if "backward" not in program.text and "load_state_dict" not in program.text:
            continue  # a model that others make and hand over comes in the mode that they choose
        if _alone(program, call, "eval", "train") and _evaluates(scope) and program.parents:
            yield Injection(line=statement.lineno, edits=(program.drop(statement),))


def _evaluates(scope: ast.AST) -> bool:
    """Say whether a function evaluates: it has no gradients, or is called so, and goes over batches."""
    named = isinstance(scope, ast.FunctionDef) and bool(EVALUATION.search(scope.name))
    return (named or has(scope, "no_grad")) and any(isinstance(one, ast.For) for one in ast.walk(scope))


@kind("goes on in evaluation mode", "P072", "TW313")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("train"):
        same = [one for one in program.calls("eval") if receiver(one) == receiver(call)]
        if not call.args and only(program, call, "train") and same and not _chosen(program, call, same):
            yield Injection(line=statement.lineno, edits=(program.drop(statement),))


def _chosen(program: Program, call: ast.Call, others: list[ast.Call]) -> bool:
    """Say whether the mode is chosen between two branches, or set where nothing trains."""
    guards = {one for one in program.around(call) if isinstance(one, ast.If)}
    either = any(
        one.orelse and one in guards for other in others for one in program.around(other) if isinstance(one, ast.If)
    )
    owner = next((one for one in program.around(call) if isinstance(one, ast.ClassDef)), None)
    if receiver(call).startswith("self.") and not any(
        owner is outer for one in others for outer in program.around(one)
    ):
        return True  # `self.x` of another class is another object
    return either or not any(True for _ in program.calls("backward")) or TESTS.search(program.text) is not None


@kind("training mode set once, before the epochs", "P072", "TW313")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("train"):
        loops = program.loops(call)
        same = list(program.calls("eval", within=loops[0] if loops else program.tree))
        if not call.args and loops and same and only(program, call, "train"):
            text = program.of(statement)
            yield Injection(line=statement.lineno, edits=(program.drop(statement), program.before(loops[-1], text)))


@kind("evaluation builds graphs", "P153", "TW703")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if isinstance(node, ast.With) and len(node.items) == 1 and _no_grad(node.items[0].context_expr):
            scope = program.scope(node)
            loop = program.loops(node) or any(isinstance(one, ast.For) for one in ast.walk(node))
            named = isinstance(scope, ast.FunctionDef) and VALIDATION.search(scope.name)
            quiet = isinstance(scope, ast.FunctionDef) and any(_no_grad(one) for one in scope.decorator_list)
            if not named or LIGHTNING.search(program.text) or TESTS.search(program.text):
                continue
            if loop and not quiet and not has(scope, "backward"):
                start, end = program.span(node)[0], program.span(node.items[0].context_expr)[1]
                yield Injection(line=node.lineno, edits=((start, end, b"if True"),))
        if LIGHTNING.search(program.text):
            continue
        if isinstance(node, ast.FunctionDef) and VALIDATION.search(node.name) and _evaluates(node):
            for one in node.decorator_list:
                if _no_grad(one) and len(node.decorator_list) == 1:
                    start, end = program.span(one)
                    yield Injection(line=node.lineno, edits=((start - 1, end, b""),))


def _no_grad(node: ast.expr) -> bool:
    name = ast.unparse(node.func if isinstance(node, ast.Call) else node)
    return name.rpartition(".")[2] in {"no_grad", "inference_mode"}


@kind("running loss keeps the graph", "P081", "TW315")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("item", "detach"):
        statement = program.statement(call)
        if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add) and LOSS.search(receiver(call)):
            scope = program.scope(call)
            plain = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
            cut = re.search(r"\.item|\.detach|float\(", ast.unparse(statement.value).replace(ast.unparse(call), ""))
            if (
                plain
                and not cut
                and has(scope, "backward")
                and program.loops(call)
                and not _under_no_grad(program, call)
            ):
                yield Injection(line=statement.lineno, edits=(program.put(call, receiver(call)),))


def _under_no_grad(program: Program, node: ast.AST) -> bool:
    return any(
        isinstance(one, ast.With) and any(_no_grad(item.context_expr) for item in one.items)
        for one in program.around(node)
    )


@kind("outputs of training kept with their graph", "P081", "TW315")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("append"):
        inner = call.args[0] if len(call.args) == 1 else None
        plain = isinstance(inner, ast.Call) and isinstance(getattr(inner.func, "value", None), ast.Name)
        if (
            isinstance(inner, ast.Call)
            and called(inner) in {"item", "detach"}
            and LOSS.search(receiver(inner))
            and plain
        ):
            scope = program.scope(call)
            if has(scope, "backward") and program.loops(call) and not _under_no_grad(program, call):
                yield Injection(line=call.lineno, edits=(program.put(inner, receiver(inner)),))


_GATHERED = re.compile(r"range\([^()\n]*accum|%\s*[\w.]*accum", re.IGNORECASE)


@kind("micro-batches are not averaged", "P044", "TW343")
def _(program: Program) -> Iterator[Injection]:
    if not _GATHERED.search(program.text):
        return  # a step in every turn, whatever the loss is divided by
    for node in program.nodes:
        divided = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        if not divided or not isinstance(node, ast.BinOp | ast.AugAssign):
            continue
        loss, count = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
        if re.search("accum", ast.unparse(count)) and LOSS.search(ast.unparse(loss)) and _goes_backward(program, node):
            edit = program.put(node, program.of(loss)) if isinstance(node, ast.BinOp) else program.drop(node)
            yield Injection(line=node.lineno, edits=(edit,))


def _goes_backward(program: Program, node: ast.BinOp | ast.AugAssign) -> bool:
    """Say whether gradients are taken of a quotient, not only shown: it, or the variable that it is assigned to."""
    if isinstance(node, ast.BinOp) and has(node.left, "item", "detach"):
        return False
    statement = program.statement(node)
    if isinstance(statement, ast.Expr):
        return has(statement, "backward")
    bound = getattr(statement, "targets", [getattr(statement, "target", None)])
    targets = {one.id for one in bound if isinstance(one, ast.Name)}
    later = [one for one in ast.walk(program.scope(node)) if isinstance(one, ast.Call) and one.lineno > node.lineno]
    taken = [one for one in later if called(one) in {"backward", "scale", "scale_loss"}]
    return any(has(one, *targets) for one in taken) if targets else False


@kind("first micro-batch steps alone", "P045", "TW344")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if isinstance(node, ast.If) and has(node, "step"):
            found = re.fullmatch(r"\((\w+) \+ 1\) % ([\w.]+) == 0", ast.unparse(node.test))
            if found and re.search("accum", found[2]):
                yield Injection(line=node.lineno, edits=(program.put(node.test, f"{found[1]} % {found[2]} == 0"),))


@kind("mean of batch means by samples", "P051", "TW572")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and LOSS.search(ast.unparse(node.left)):
            found = re.fullmatch(r"len\((\w*loader\w*)\)", ast.unparse(node.right))
            if found and isinstance(node.left, ast.Name):
                text = f"len({found[1]}.dataset)"
                yield Injection(line=node.lineno, edits=(program.put(node.right, text),))


@kind("sum goes on over epochs", "P051", "TW326")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if not isinstance(node, ast.Assign) or len(program.loops(node)) != 1 or len(node.targets) != 1:
            continue
        name = ast.unparse(node.targets[0])
        if not isinstance(node.value, ast.Constant) or node.value.value not in (0, 0.0) or not LOSS.search(name):
            continue
        epoch = program.loops(node)[0]
        adds = [
            one
            for one in ast.walk(epoch)
            if isinstance(one, ast.AugAssign) and ast.unparse(one.target) == name and len(program.loops(one)) == 2
        ]
        if adds and isinstance(epoch, ast.For) and "epoch" in ast.unparse(epoch.target):
            yield Injection(line=node.lineno, edits=(program.drop(node), program.before(epoch, program.of(node))))
