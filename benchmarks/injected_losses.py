"""Mistakes in losses, as the catalogue of pitfalls has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.injected_program import Injection, Program, called, has, keyword, kind, receiver


@kind("softmax before cross-entropy", "P029", "TW201")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("cross_entropy"):
        if receiver(call).rpartition(".")[2] in {"F", "functional"} and len(call.args) >= 2 and not _soft(call):
            text = f"torch.softmax({program.of(call.args[0])}, dim=1)"
            yield Injection(line=call.lineno, edits=(program.put(call.args[0], text),))
    for name in re.findall(r"([\w.]+) = (?:torch\.)?nn\.CrossEntropyLoss\(", program.text):
        for node in program.nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) == name and len(node.args) == 2:
                text = f"torch.softmax({program.of(node.args[0])}, dim=1)"
                yield Injection(line=node.lineno, edits=(program.put(node.args[0], text),))


def _soft(call: ast.Call) -> bool:
    return "softmax" in ast.unparse(call.args[0])


@kind("softmax at the end of the network", "P029", "TW201", "TW215")
def _(program: Program) -> Iterator[Injection]:
    if not re.search(r"CrossEntropyLoss|cross_entropy\(", program.text):
        return
    for node in program.nodes:
        if isinstance(node, ast.FunctionDef) and node.name == "forward" and program.module_class(node) is not None:
            last = node.body[-1]
            value = last.value if isinstance(last, ast.Return) else None
            if isinstance(value, ast.Call) and re.match(
                r"self\.(fc|linear|head|classifier|out)\w*\(", ast.unparse(value)
            ):
                text = f"torch.softmax({program.of(value)}, dim=1)"
                yield Injection(line=value.lineno, edits=(program.put(value, text),))


@kind("likelihood of raw scores", "P030", "TW203")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("CrossEntropyLoss"):
        if not keyword(call, "label_smoothing") and isinstance(call.func, ast.Attribute):
            text = program.of(call.func).replace("CrossEntropyLoss", "NLLLoss")
            yield Injection(line=call.lineno, edits=(program.put(call.func, text),))
    for call in program.calls("cross_entropy"):
        if receiver(call) == "F" and not keyword(call, "label_smoothing"):
            yield Injection(line=call.lineno, edits=(program.put(call.func, "F.nll_loss"),))


@kind("likelihood of probabilities", "P030", "TW203")
def _(program: Program) -> Iterator[Injection]:
    if not re.search(r"nll_loss\(|NLLLoss\(", program.text):
        return
    for call in program.calls("log_softmax"):
        if isinstance(call.func, ast.Attribute) and receiver(call) in {"F", "torch", "nn.functional"}:
            if not _goes_into_likelihood(program, call):
                continue
            text = program.of(call.func).replace("log_softmax", "softmax")
            yield Injection(line=call.lineno, edits=(program.put(call.func, text),))


def _goes_into_likelihood(program: Program, call: ast.Call) -> bool:
    """Say whether a network returns it, or a loss in the same function gets it."""
    scope, statement = program.scope(call), program.statement(call)
    if isinstance(statement, ast.Return):
        return getattr(scope, "name", "") == "forward"
    losses = [one for one in program.calls("nll_loss", within=scope) if one.args]
    names = {one.id for one in getattr(statement, "targets", []) if isinstance(one, ast.Name)}
    given = any(call in ast.walk(one.args[0]) or has(one.args[0], *names) for one in losses)
    return given or (getattr(scope, "name", "") == "forward" and any(_returns(one, names) for one in ast.walk(scope)))


def _returns(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Return) and node.value is not None and has(node.value, *names)


@kind("sigmoid before the loss with logits", "P031", "TW202")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("binary_cross_entropy_with_logits"):
        if call.args:
            text = f"torch.sigmoid({program.of(call.args[0])})"
            yield Injection(line=call.lineno, edits=(program.put(call.args[0], text),))
    if "igmoid(" in program.text:
        for call in program.calls("BCELoss"):
            if isinstance(call.func, ast.Attribute):
                text = program.of(call.func).replace("BCELoss", "BCEWithLogitsLoss")
                yield Injection(line=call.lineno, edits=(program.put(call.func, text),))


@kind("padding counted in the loss", "P036", "TW253")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss"):
        one = keyword(call, "ignore_index")
        if one is not None and re.search("pad", ast.unparse(one.value), re.IGNORECASE):
            yield Injection(line=call.lineno, edits=(program.without(call, one),))


@kind("masked mean over everything", "P036", "TW253")
def _(program: Program) -> Iterator[Injection]:
    for node in program.nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, right = ast.unparse(node.left), ast.unparse(node.right)
            found = re.fullmatch(r"\((.*\* [\w.]*mask[\w.]*)\)\.sum\(\)", left)
            if found and re.match(r"[\w.]*mask[\w.]*\.sum\(\)", right):
                yield Injection(line=node.lineno, edits=(program.put(node, f"({found[1]}).mean()"),))


@kind("KL divergence of probabilities", "P041", "TW204")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("kl_div"):
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Call) and called(first) == "log_softmax" and isinstance(first.func, ast.Attribute):
            text = program.of(first.func).replace("log_softmax", "softmax")
            yield Injection(line=call.lineno, edits=(program.put(first.func, text),))


@kind("root of what may be zero", "P049", "TW238")
def _(program: Program) -> Iterator[Injection]:
    yield from _without_epsilon(program, "sqrt")


@kind("logarithm of what may be zero", "P049", "TW213", "TW239", "TW263", "TW274")
def _(program: Program) -> Iterator[Injection]:
    yield from _without_epsilon(program, "log")


def _without_epsilon(program: Program, name: str) -> Iterator[Injection]:
    for call in program.calls(name):
        inside = (
            call.args[0] if len(call.args) == 1 else call.func.value if isinstance(call.func, ast.Attribute) else None
        )
        if not isinstance(inside, ast.BinOp) or not isinstance(inside.op, ast.Add) or receiver(call) in {"np", "math"}:
            continue
        if re.search(r"running_|\.mean\(\)$", ast.unparse(inside.left)):
            continue  # statistics that begin at one; what is zero only where everything is
        if re.fullmatch(r"(self\.)?_?eps\w*|1e-\d+|EPS\w*", ast.unparse(inside.right), re.IGNORECASE):
            yield Injection(line=call.lineno, edits=(program.put(inside, program.of(inside.left)),))


@kind("target and prediction exchanged", "P033", "TW232")
def _(program: Program) -> Iterator[Injection]:
    for call in program.calls("binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"):
        both = keyword(call, "log_target")
        if both is not None and isinstance(both.value, ast.Constant) and both.value.value is True:
            continue  # two networks' log-probabilities: either may be the first
        if len(call.args) >= 2:
            edits = (
                program.put(call.args[0], program.of(call.args[1])),
                program.put(call.args[1], program.of(call.args[0])),
            )
            yield Injection(line=call.lineno, edits=edits)
