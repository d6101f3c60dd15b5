"""A function never reads a parameter that its callers set.

What it finds:
    `def __init__(self, dim, extra_norm=False)` that never reads `extra_norm`, or only keeps it as an attribute that
    nothing reads, when another line of the project gives it something else than the default.

Why:
    What the caller asked for has no effect: the norm is not there, the rate is the one that is written down.

How sure:
    The function is called by its name, in its file or one that imports it, with a value that is not the default; the
    parameter's name is that of something that changes what is learned. Silent for methods other than `__init__`, for
    functions that are decorated, take `**options`, are stubs, or say in their text that the parameter is not used. A
    hint, for such parameters are often there for the sake of a like function; not said where TW844 says it of a call.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_of, is_stub, unread_parameter
from trainworthy.check.static.everywhere import project_files, setting_is_read, text_of
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch
from torch import nn


def block(width, activation=nn.ReLU, drop=0.0):  # <- TW875
    return nn.Sequential(nn.Linear(width, width), activation())


model = nn.Sequential(block(8, drop=0.1), block(8, drop=0.2))
"""

GOOD = """\
import torch
from torch import nn


def block(width, activation=nn.ReLU, drop=0.0):
    return nn.Sequential(nn.Linear(width, width), activation(), nn.Dropout(drop))


model = nn.Sequential(block(8, drop=0.1), block(8, drop=0.2))
"""

_CHANGES = re.compile(
    r"(^|_)(num|n|dim|dims|channels|classes|layers|depth|width|heads|stride|dilation|groups|kernel|bias|momentum|"
    r"eps|epsilon|norm|activation|act|rate|lr|decay|warmup|drop|dropout|scale|scaling|gamma|alpha|beta|lambda|lmbda|tau|"
    r"temperature|margin|sigma|std|weights?|masks?|lengths?|seed|shuffle|smoothing|reduction|clip|threshold|steps|"
    r"frozen|freeze|residual|bidirectional|causal|gain|augment|transform|noise|sigmoid|softmax|power|dilations)(_|$)"
)
_SAYS_SO = "unused|ignored|not used|n't use|not use|compat|deprecated|no effect|placeholder|dummy"


@rule(code="TW875", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at parameters with a default."""
    if "torch" not in analysis.source.words or "save_hyperparameters" in analysis.source.words:
        return
    owners = {one: cls for cls in analysis.nodes.get(ast.ClassDef, []) for one in getattr(cls, "body", [])}
    for node in functions_of(analysis.nodes):
        owner = owners.get(node)
        if node.decorator_list or node.args.kwarg is not None or is_stub(node) or (owner and node.name != "__init__"):
            continue
        defaults = {name: one for name, one in _defaults(node).items() if _CHANGES.search(name)}
        called = getattr(owner, "name", "") if owner is not None else node.name
        found = {}
        for name in _unread(analysis, node, owner, defaults):
            given = _given(analysis, node, called, name, defaults[name], bound=owner is not None)
            if given is not None and not _says_that_it_is_ignored(analysis, node, name):
                found[name] = given
        if found:
            listed = "`, `".join(found)
            yield Hit(
                place=_header(analysis, node),
                message=f"`{called}` never reads its `{listed}`",
                evidence=tuple(Evidence(f"here it is {value}", place) for place, value in found.values()),
                fix="Use it, or remove it." if len(found) == 1 else "Use them, or remove them.",
                defects=frozenset(unread_parameter(analysis.source, node, name) for name in found),
            )


def _unread(analysis: Analysis, node: Def, owner: ast.AST | None, defaults: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the parameters that a function never reads, or only keeps for nobody."""
    names = bindings_of(node) if defaults else None
    for name in defaults:
        if names is None or name in names.stores or name.startswith("_"):
            continue
        if not names.is_read(name) or (owner and _is_only_kept(analysis, node, owner, name)):
            yield name


def _is_only_kept(analysis: Analysis, node: Def, owner: ast.AST, name: str) -> bool:
    """Say whether a constructor only keeps a parameter as an attribute, which nothing reads."""
    reads = bindings_of(node).reads[name]
    kept = [one for one in nodes_of(node, ast.Assign) if one.value in reads
            and unparsed(one.targets[0]) == f"self.{name}"]  # fmt: skip
    if not kept or len(kept) != len(reads):
        return False
    if re.search(rf"\.{name}\b(?!\s*=[^=])|['\"]{name}['\"]|__dict__|vars\(self|getattr\(self", analysis.source.code):
        return False
    return setting_is_read(analysis.source.path, name, getattr(owner, "name", "")) is False


def _defaults(node: Def) -> dict[str, ast.expr]:
    positional = [*node.args.posonlyargs, *node.args.args]
    found = {one.arg: value for one, value in zip(reversed(positional), reversed(node.args.defaults), strict=False)}
    only = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return found | {one.arg: value for one, value in only if value is not None}


def _given(
    analysis: Analysis, node: Def, called: str, name: str, default: ast.expr, *, bound: bool
) -> tuple[Place, str] | None:
    """Return a place of the project where a parameter gets something else than its default, and what."""
    positional = [one.arg for one in (*node.args.posonlyargs, *node.args.args)][1 if bound else 0 :]
    for file in _mentioning(analysis.source.path, called):
        text = analysis.source.text if file == analysis.source.path else text_of(file)
        for line, call in _calls(text, called):
            value = next((one.value for one in call.keywords if one.arg == name), None)
            at = positional.index(name) if name in positional else len(call.args)
            if value is None and at < len(call.args) and not any(isinstance(one, ast.Starred) for one in call.args):
                value = call.args[at]
            if value is None or unparsed(value) in (unparsed(default), "None"):
                continue
            return Place(file, line, None, line, None), unparsed(value)
    return None


@lru_cache(maxsize=256)
def _mentioning(path: str, called: str) -> tuple[str, ...]:
    """Return the files of a project that may call what one of them defines."""
    return tuple(
        file
        for file in project_files(path) or (path,)
        if file == path or (called in text_of(file) and _imports(path, file, called))
    )


def _imports(path: str, file: str, called: str) -> bool:
    """Say whether another file means what is defined in the first by a name: by its import, or as there is one only."""
    text = text_of(file)
    definition = rf"^\s*(def|class) {called}\b"
    if "/test" in file or re.search(definition, text, re.MULTILINE):
        return False
    if re.search(rf"^\s*from [\w.]*\b{Path(path).stem} import [^#=]*?\b{called}\b", text, re.MULTILINE):
        return True
    files = project_files(path) or ()
    return sum(len(re.findall(definition, text_of(one), re.MULTILINE)) for one in files if called in text_of(one)) == 1


@lru_cache(maxsize=1024)
def _calls(text: str, called: str) -> list[tuple[int, ast.Call]]:
    """Return the calls of a name in a text, with their lines."""
    found = []
    for match in re.finditer(rf"(?<![\w.]){called}\(", text):
        start = text.rfind("\n", 0, match.start()) + 1
        if re.match(r"\s*(def|class|#)", text[start : match.start()] + " "):
            continue
        call = _call_at(text[match.start() : match.start() + _LONGEST])
        if call is not None:
            found.append((text.count("\n", 0, match.start()) + 1, call))
    return found


_LONGEST = 3000


def _call_at(text: str) -> ast.Call | None:
    """Parse the call that a text begins with."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and letter == ")":
            try:
                parsed = ast.parse(text[: at + 1], mode="eval").body
            except (SyntaxError, ValueError):
                return None
            return parsed if isinstance(parsed, ast.Call) else None
    return None


def _says_that_it_is_ignored(analysis: Analysis, node: Def, name: str) -> bool:
    """Say whether the text of a function says of a parameter that it is not used."""
    text = re.sub(rf"\b{name.replace('_', ' ')}\b", name, analysis.source.segment(node))
    return re.search(rf"\b{name}\b[^\n]*({_SAYS_SO})|({_SAYS_SO})[^\n]*\b{name}\b", text, re.IGNORECASE) is not None


def _header(analysis: Analysis, node: Def) -> Place:
    where = analysis.source.place(node)
    return where._replace(end_line=where.line, end_column=None)
