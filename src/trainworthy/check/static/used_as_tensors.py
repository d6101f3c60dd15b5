"""Names that are surely tensors or arrays, by what else their function does with them and how it got them."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, integer, last_given, scope_of
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk

# What modules, encodings of tokenizers and graphs, whose methods change them in place, have not.
_ATTRIBUTES = frozenset({"shape", "ndim", "mT"})
_METHODS = frozenset(
    "size dim numel unsqueeze squeeze permute detach backward masked_fill masked_fill_ contiguous new_zeros new_ones "
    "new_full argmax clamp long softmax log_softmax unbind topk cumsum scatter_ index_select".split()
)
_OF_OTHERS = frozenset(
    "parameters named_parameters train eval state_dict load_state_dict modules children keys items values input_ids "
    "attention_mask x edge_index ndata edata graph ids".split()
)
_ARITHMETIC = (ast.Sub, ast.Mult, ast.Div, ast.MatMult, ast.Pow)
_NO_TENSORS = frozenset("save load compile is_tensor typename export manual_seed device".split())
_LOADER = re.compile(r"loader(?!\w*\.dataset)|_dl\b|\bdl\b", re.IGNORECASE)
_SIZED = re.compile(r"\.size\(|shape")
_WHOLE_NUMBERS = re.compile(r"\.(long|int64|int32|int|uint8|bool)$")
_SHAPED = frozenset({"view", "reshape", "expand", "repeat"})


def is_of_a_tensor(analysis: Analysis, call: ast.Call) -> bool:
    """Say whether a method is surely one of a tensor or array: by its arguments, or by the name it is called on."""
    func = call.func
    if not isinstance(func, ast.Attribute):
        return False
    given = [one.value if isinstance(one, ast.Starred) else one for one in call.args]
    if func.attr in _SHAPED and any(integer(one) == -1 or _SIZED.search(unparsed(one)) for one in given):
        return True
    if func.attr in ("transpose", "swapaxes", "flatten"):
        numbers = [integer(one) for one in given]
        if None not in numbers and len(numbers) > 1:
            return True
    if func.attr == "to" and any(_WHOLE_NUMBERS.search(unparsed(one)) for one in given[:1]):
        return True  # no module takes such numbers
    return isinstance(func.value, ast.Name) and is_used_as_tensor(analysis, func.value)


def is_used_as_tensor(analysis: Analysis, name: ast.Name) -> bool:
    """Say whether a name is surely a tensor or array: its function says or treats it so, or moves its neighbour."""
    scope = scope_of(name, analysis.parents)
    uses = [one for one in nodes_of(scope, ast.Name) if one.id == name.id and one is not name]
    if any(_is_something_else(one, analysis.parents) for one in uses):
        return False
    if _is_annotated(scope, name.id) or any(_is_tensors(one, analysis) for one in uses):
        return True
    return _is_made_so(name, scope) or _is_moved_beside(name, scope, analysis)


def _is_something_else(use: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    parent = parents.get(use)
    if isinstance(parent, ast.Call):
        return parent.func is use
    if isinstance(parent, ast.keyword):
        return parent.arg is None
    if isinstance(parent, ast.Attribute):
        return parent.attr in _OF_OTHERS
    key = parent.slice if isinstance(parent, ast.Subscript) and parent.value is use else None
    return isinstance(key, ast.Constant) and isinstance(key.value, str)


def _is_annotated(scope: ast.AST, name: str) -> bool:
    arguments = scope.args if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef) else None
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs] if arguments is not None else []
    said = [unparsed(one.annotation) for one in every if one.arg == name and one.annotation is not None]
    return any(re.fullmatch(r"['\"]?(Optional\[)?(\w+\.)?(\w*Tensor)\]?( \| None)?['\"]?", one) for one in said)


def _is_tensors(use: ast.Name, analysis: Analysis) -> bool:
    """Say whether a use is one that only tensors and arrays allow."""
    parent = analysis.parents.get(use)
    outer = analysis.parents.get(parent) if parent is not None else None
    if isinstance(parent, ast.Attribute):
        is_method = isinstance(outer, ast.Call) and outer.func is parent
        return parent.attr in _METHODS if is_method else parent.attr in _ATTRIBUTES
    if isinstance(parent, ast.BinOp | ast.AugAssign):
        return isinstance(parent.op, _ARITHMETIC)
    if isinstance(parent, ast.UnaryOp):
        return isinstance(parent.op, ast.USub | ast.Invert)
    if isinstance(parent, ast.Subscript) and parent.value is use and isinstance(parent.slice, ast.Tuple):
        return any(isinstance(one, ast.Slice) or getattr(one, "value", 0) in (..., None) for one in parent.slice.elts)
    if isinstance(parent, ast.Call) and called(parent) in ("isinstance", "type") and parent.args[:1] == [use]:
        said = parent.args[1] if len(parent.args) > 1 else getattr(outer, "comparators", [None])[0]
        return isinstance(said, ast.Attribute | ast.Name) and unparsed(said).endswith("Tensor")
    if isinstance(parent, ast.Call) and parent.args[:1] == [use] and isinstance(parent.func, ast.Attribute):
        library = library_of(analysis.source, parent.func.value)
        return library == "torch.nn.functional" or (library == "torch" and parent.func.attr not in _NO_TENSORS)
    return False


def _is_made_so(name: ast.Name, scope: ast.AST) -> bool:
    """Say whether a name was last given a new view of something, or sound that was read."""
    for one in walk(scope):
        if not isinstance(one, ast.Assign) or len(one.targets) != 1 or one.lineno >= name.lineno:
            continue
        target, value = one.targets[0], one.value
        if isinstance(target, ast.Tuple) and target.elts and getattr(target.elts[0], "id", "") == name.id:
            return isinstance(value, ast.Call) and unparsed(value.func) == "torchaudio.load"
    given = last_given(scope, name.id, name.lineno)
    return isinstance(given, ast.Call) and called(given) in _NEW and isinstance(given.func, ast.Attribute)


_NEW = frozenset("view unsqueeze masked_fill permute expand_as view_as type_as new_zeros new_ones softmax".split())


def _is_moved_beside(name: ast.Name, scope: ast.AST, analysis: Analysis) -> bool:
    """Say whether a name is one part of a loader's batch, of which another is moved and kept: ``y = y.to(device)``."""
    parts = _parts_of_batch(name, scope, analysis)
    return bool(parts) and any(_is_moved(one, parts) for one in walk(scope))


def _parts_of_batch(name: ast.Name, scope: ast.AST, analysis: Analysis) -> set[str]:
    """Return the names of what a loader's batch is unpacked to, or of items of it, if a name is one of them."""
    for one in walk(scope):
        loop = isinstance(one, ast.For)
        value = one.iter if isinstance(one, ast.For) else one.value if isinstance(one, ast.Assign) else None
        if value is None or not (loop or called(value) == "next") or not _is_a_loader(value, scope):
            continue
        target = one.target if isinstance(one, ast.For) else one.targets[0] if isinstance(one, ast.Assign) else None
        if isinstance(target, ast.Tuple) and _counts(value, scope) and len(target.elts) == 2:
            target = target.elts[1]
        if isinstance(target, ast.Tuple | ast.List):
            parts = {part.id for part in target.elts if isinstance(part, ast.Name)}
        else:
            parts = _items(target.id, scope) if isinstance(target, ast.Name) else set()
        if name.id in parts:
            return parts
    return set()


def _is_a_loader(node: ast.expr, scope: ast.AST) -> bool:
    """Say whether something goes through what is called a loader, or through what was made of one."""
    if _LOADER.search(unparsed(node)):
        return True
    wraps = isinstance(node, ast.Call) and bool(node.args) and called(node) in ("enumerate", "iter", "next")
    inner = node.args[0] if isinstance(node, ast.Call) and wraps else node
    given = followed(inner, scope)
    return given is not inner and _LOADER.search(unparsed(given)) is not None


def _counts(node: ast.expr, scope: ast.AST) -> bool:
    """Say whether something is numbered: ``enumerate(loader)``, ``tqdm(enumerate(loader))``."""
    return "enumerate" in unparsed(followed(node, scope))


def _items(batch: str, scope: ast.AST) -> set[str]:
    """Return the names that are given items of a batch, by number or name, or all of them at once."""
    found: set[str] = set()
    for one in walk(scope):
        if not isinstance(one, ast.Assign) or len(one.targets) != 1:
            continue
        target, value = one.targets[0], one.value
        if isinstance(value, ast.Name) and value.id == batch and isinstance(target, ast.Tuple):
            found |= {part.id for part in target.elts if isinstance(part, ast.Name)}
        elif isinstance(value, ast.Subscript) and getattr(value.value, "id", "") == batch:
            key = value.slice.value if isinstance(value.slice, ast.Constant) else integer(value.slice)
            if isinstance(target, ast.Name) and isinstance(key, str | int):
                found.add(target.id)
    return found


def _is_moved(statement: ast.AST, names: set[str]) -> bool:
    """Say whether a statement gives a name what it holds, moved or cast: ``y = y.to(device)``."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    value = statement.value if isinstance(statement, ast.Assign) else None
    if not isinstance(target, ast.Name) or target.id not in names or not isinstance(value, ast.Call):
        return False
    inner: ast.expr = value
    while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
        if inner.func.attr not in ("to", "cuda", "float", "long", "half"):
            return False
        inner = inner.func.value
    return isinstance(inner, ast.Name) and inner.id == target.id
