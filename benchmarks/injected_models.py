"""Mistakes in networks and tensors, as the catalogue of pitfalls has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.injected_program import Injection, Program, called, has, keyword, kind, receiver

SQUARED = ("mse_loss", "l1_loss", "smooth_l1_loss")
SQUARED_LOSSES = re.compile(r"(\w+(?:\.\w+)*) = (?:torch\.)?nn\.(?:MSELoss|L1Loss|SmoothL1Loss)\(")


@kind("layers in a plain list", "P057", "TW303")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("ModuleList"):
        statement = program.statement(call)
        if program.module_class(call) is None or not isinstance(statement, ast.Assign):
            continue
        target = ast.unparse(statement.targets[0])
        if (
            statement.value is call
            and target.startswith("self.")
            and not _has_no_effect_in_a_list(program, call, target)
        ):
            if not call.args:
                yield Injection(line=call.lineno, edits=(program.put(call, "[]"),))
            elif isinstance(call.args[0], ast.List | ast.ListComp):
                yield Injection(line=call.lineno, edits=(program.put(call, program.of(call.args[0])),))


def _has_no_effect_in_a_list(program: Program, call: ast.Call, target: str) -> bool:
    """Say whether a plain list would fail at once, or all that is in it has no parameters, buffers or mode."""
    outer = program.module_class(call)
    if outer is not None and f"{target}.add_module(" in ast.unparse(outer):
        return True
    held = [
        one for one in ast.walk(call) if isinstance(one, ast.Call) and one is not call and called(one)[:1].isupper()
    ]
    nothing = re.compile(r"(Max|Avg|AdaptiveAvg|AdaptiveMax|Lp)Pool\dd|(Leaky)?ReLU6?|GELU|SiLU|Tanh|Sigmoid|Identity")
    return bool(held) and all(nothing.fullmatch(called(one)) for one in held)


@kind("one layer repeated in a list", "P085", "TW304")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("ModuleList"):
        inner = call.args[0] if len(call.args) == 1 else None
        if isinstance(inner, ast.ListComp) and len(inner.generators) == 1 and isinstance(inner.elt, ast.Call):
            one = inner.generators[0]
            found = re.fullmatch(r"range\(([\w.]+)\)", ast.unparse(one.iter))
            if found and isinstance(one.target, ast.Name) and not has(inner.elt, one.target.id) and not one.ifs:
                text = f"[{program.of(inner.elt)}] * {found[1]}"
                yield Injection(line=call.lineno, edits=(program.put(inner, text),))


@kind("buffer kept as an attribute", "P112", "TW345")
def _(program: Program) -> Iterator[Injection]:
    for statement, call in program.statements("register_buffer"):
        if receiver(call) != "self" or len(call.args) < 2 or not isinstance(call.args[0], ast.Constant):
            continue
        name, value = call.args[0].value, call.args[1]
        if isinstance(name, str) and name.isidentifier() and not isinstance(value, ast.Constant):
            if _needs_no_home(program, statement, name) or _is_placed_by_hand(call):
                continue
            text = f"self.{name} = {program.of(value)}"
            yield Injection(line=statement.lineno, edits=(program.put(statement, text),))


@kind("parameter kept as a tensor", "P112", "TW345")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("Parameter"):
        statement = program.statement(call)
        if isinstance(statement, ast.Assign) and statement.value is call and len(call.args) == 1:
            made = ast.unparse(call.args[0])
            name = ast.unparse(statement.targets[0])
            if name.startswith("self.") and made.startswith("torch.") and "(" in made:
                if _needs_no_home(program, statement, name.removeprefix("self.")):
                    continue
                yield Injection(line=call.lineno, edits=(program.put(call, program.of(call.args[0])),))


def _needs_no_home(program: Program, statement: ast.stmt, name: str) -> bool:
    """Say whether nothing in a network reads an attribute but what sets it up, or its uses move it themselves."""
    outer = program.module_class(statement)
    if outer is None:
        return True
    own = re.compile(rf"\bself\.{re.escape(name)}\b(?! =)")
    others = [
        ast.unparse(one)
        for one in outer.body
        if isinstance(one, ast.FunctionDef) and one is not program.scope(statement)
    ]
    moved = re.compile(
        rf"self\.{re.escape(name)}(\[[^\]]*\])?\.(to|cuda|type_as)\(|\(self\.{re.escape(name)}.*\)\.cuda\("
    )
    return not any(own.search(one) for one in others) or any(moved.search(one) for one in others)


def _is_placed_by_hand(call: ast.Call) -> bool:
    """Say whether a buffer is made on its device and not saved: it would be the same as an attribute."""
    persistent = keyword(call, "persistent")
    value = ast.unparse(call.args[1])
    return persistent is not None and ast.unparse(persistent.value) == "False" and "device" in value


@kind("softmax over the batch", "P022", "TW150")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("softmax", "log_softmax"):
        one = keyword(call, "dim")
        value = one.value if one else call.args[-1] if len(call.args) == 2 else None
        if value is not None and ast.unparse(value) in {"1", "-1"} and program.module_class(call) is not None:
            yield Injection(line=call.lineno, edits=(program.put(value, "0"),))


@kind("predictions (N, 1) against targets (N,)", "P001", "TW101")
def _(program: Program) -> Iterator[Injection]:
    names = set(SQUARED_LOSSES.findall(program.text))
    for call in program.nodes:
        if not isinstance(call, ast.Call) or len(call.args) < 2:
            continue
        if called(call) not in SQUARED and ast.unparse(call.func) not in names:
            continue
        first = call.args[0]
        if isinstance(first, ast.Call) and called(first) in {"squeeze", "flatten"} and receiver(first) != "torch":
            yield Injection(line=call.lineno, edits=(program.put(first, receiver(first)),))


@kind("view instead of a permute", "P012", "TW122")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("view", "reshape"):
        inner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if isinstance(inner, ast.Call) and called(inner) == "contiguous" and isinstance(inner.func, ast.Attribute):
            inner = inner.func.value
        if (
            isinstance(inner, ast.Call)
            and called(inner) in {"permute", "transpose"}
            and isinstance(inner.func, ast.Attribute)
        ) and receiver(inner) not in {"np", "torch", "numpy"}:
            text = program.of(inner.func.value)
            text = f"({text})" if isinstance(inner.func.value, ast.BinOp) else text
            yield Injection(line=call.lineno, edits=(program.put(inner, text),))


@kind("functional dropout always on", "P075", "TW357")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("dropout"):
        one = keyword(call, "training")
        if one is not None and ast.unparse(one.value) == "self.training":
            yield Injection(line=call.lineno, edits=(program.without(call, one),))


@kind("labels not shifted", "P040", "TW252")
def _(program: Program) -> Iterator[Injection]:
    ahead = re.compile(r"\[\.\.\., :-1, :\]|\[:, :-1, :\]|\[:, :-1\]|\[\.\.\., :-1\]")
    behind = re.compile(r"\[\.\.\., 1:\]|\[:, 1:\]")
    for scope in program.nodes:
        if not isinstance(scope, ast.FunctionDef):
            continue
        slices = [one for one in ast.walk(scope) if isinstance(one, ast.Subscript)]
        first = [one for one in slices if ahead.search(ast.unparse(one)) and "logits" in ast.unparse(one.value)]
        second = [one for one in slices if behind.search(ast.unparse(one)) and "label" in ast.unparse(one.value)]
        if len(first) == 1 and len(second) == 1:
            edits = tuple(program.put(one, program.of(one.value)) for one in (first[0], second[0]))
            yield Injection(line=first[0].lineno, edits=edits)


@kind("result thrown away", "P102", "TW841", "TW874")
def _(program: Program) -> Iterator[Injection]:
    wanted = {"to", "masked_fill", "transpose", "permute", "unsqueeze", "squeeze", "clamp", "relu", "view", "float"}
    for node in program.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.targets) == 1:
            call, name = node.value, ast.unparse(node.targets[0])
            if called(call) in wanted and receiver(call) == name and not _moves_in_place(program, call, name):
                yield Injection(line=node.lineno, edits=(program.put(node, program.of(call)),))


def _moves_in_place(program: Program, call: ast.Call, name: str) -> bool:
    """Say whether an object is a module, which casts and moves itself, or one with parts, as batches of graphs do."""
    if re.search("model|net|self|module|layer|processor", name):
        return True
    own = r"shape|device|dtype|data|grad|T|ndim|requires_grad|is_cuda"
    parts = re.search(rf"\b{re.escape(name)}\.(?!({own})\b)\w+\b(?!\()", ast.unparse(program.scope(call)))
    return called(call) == "to" and parts is not None


@kind("sample changed in place", "P102", "TW560")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("copy", "clone", "deepcopy"):
        scope = program.scope(call)
        statement = program.statement(call)
        if getattr(scope, "name", "") != "__getitem__" or not isinstance(statement, ast.Assign):
            continue
        value = call.args[0] if called(call) == "deepcopy" and call.args else getattr(call.func, "value", None)
        name = ast.unparse(statement.targets[0])
        changed = re.search(
            rf"\b{re.escape(name)}(\[[^\]]*\])+ [-+*/]?= |\b{re.escape(name)} [-+*/]= ", ast.unparse(scope)
        )
        if value is not None and "self." in ast.unparse(value) and statement.value is call and changed:
            yield Injection(line=statement.lineno, edits=(program.put(call, program.of(value)),))


@kind("copy left out, original changed", "P102", "TW560", "TW576", "TW577", "TW512")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("copy", "clone", "deepcopy"):
        scope, statement = program.scope(call), program.statement(call)
        value = call.args[0] if called(call) == "deepcopy" and call.args else getattr(call.func, "value", None)
        if (
            not isinstance(statement, ast.Assign)
            or statement.value is not call
            or not isinstance(scope, ast.FunctionDef)
        ):
            continue
        name, text = ast.unparse(statement.targets[0]), ast.unparse(scope)
        changed = re.search(
            rf"\b{re.escape(name)}(\[[^\]]*\])+ [-+*/]?= |\b{re.escape(name)} [-+*/]= |"
            rf"\b{re.escape(name)}\.(\w+_|append|pop|update|extend)\(",
            text,
        )
        given = [one.arg for one in (*scope.args.args, *scope.args.kwonlyargs)]
        root = ast.unparse(value).partition(".")[0].partition("[")[0] if value is not None else ""
        if value is not None and changed and root in given and "state_dict" not in ast.unparse(value):
            yield Injection(line=statement.lineno, edits=(program.put(call, program.of(value)),))


@kind("mask upside down", "P186", "TW221")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("masked_fill", "masked_fill_"):
        if len(call.args) == 2 and re.search("inf|-1e|finfo", ast.unparse(call.args[1])):
            found = re.fullmatch(r"(.+) == 0", ast.unparse(call.args[0]))
            text = f"{found[1]} == 1" if found else f"~{ast.unparse(call.args[0])}"
            if found or isinstance(call.args[0], ast.Name):
                yield Injection(line=call.lineno, edits=(program.put(call.args[0], text),))


@kind("softmax before its mask", "P140", "TW218")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("softmax"):
        statement = program.statement(call)
        block = program.block(statement)
        at = block.index(statement)
        if at and isinstance(statement, ast.Assign) and isinstance(block[at - 1], ast.Assign):
            before = block[at - 1]
            same = ast.unparse(getattr(before, "targets", [statement])[0]) == ast.unparse(statement.targets[0])
            if same and has(before, "masked_fill"):
                yield Injection(line=statement.lineno, edits=program.swap(before, statement))


@kind("generator's samples trained by the discriminator's step", "P047", "TW394")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("detach"):
        outer = program.parents[call]
        if not isinstance(outer, ast.Call) or call not in outer.args or not re.search("fake|gen", receiver(call)):
            continue
        if re.search(r"(^|[._])(net_?)?d($|_|isc)", ast.unparse(outer.func), re.IGNORECASE):
            yield Injection(line=call.lineno, edits=(program.put(call, receiver(call)),))
