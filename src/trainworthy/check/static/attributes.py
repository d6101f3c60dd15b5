"""Which attributes the objects of a class have: bound by it, its bases, those that descend from it, or outside."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import ProjectClass, Ref

_CLASS = re.compile(r"^[ \t]*class\s+(\w+)\s*(?:\(([^)]*)\))?\s*:", re.MULTILINE)
# What makes attributes without their names being written: nothing can be said of such a class.
_HIDING = frozenset(
    "__getattr__ __getattribute__ __setattr__ __dict__ __slots__ vars setattr locals exec globals".split()
)
OF_MODULES = frozenset(
    "_parameters _buffers _modules _non_persistent_buffers_set _backward_hooks _backward_pre_hooks _forward_hooks "
    "_forward_pre_hooks _is_full_backward_hook _version _apply _call_impl _load_from_state_dict _named_members "
    "_save_to_state_dict _register_state_dict_hook _register_load_state_dict_pre_hook _get_name "
    "_gradient_checkpointing_func "  # transformers gives it to every module
    "training dump_patches call_super_init T_destination add_module apply bfloat16 buffers children compile cpu cuda "
    "double eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu "
    "load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters "
    "register_backward_hook register_buffer register_forward_hook register_forward_pre_hook "
    "register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook "
    "register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook "
    "register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty "
    "train type xpu zero_grad".split()
)
_OBJECT = frozenset(dir(object)) | {"__dict__", "__module__", "__name__", "__annotations__"}
OUTSIDE = {
    "torch.nn.Module": OF_MODULES,
    "torch.utils.data.Dataset": frozenset({"functions"}),
    "torch.utils.data.IterableDataset": frozenset({"functions"}),
    "torch.utils.data.Sampler": frozenset({"data_source"}),
    **{name: frozenset[str]() for name in ("builtins.object", "abc.ABC", "typing.Generic")},
}
_NAMELESS = frozenset({"object", "ABC", "Generic", "Module", "Dataset", "IterableDataset", "Sampler"})


@dataclass(frozen=True)
class Bound:
    """What one class's text binds: names, and whether it also makes attributes whose names are not written.

    ``prefixes`` is how the names of parts begin that are registered under names made up before: `layer` of `layer{i}`.
    """

    names: frozenset[str]
    hidden: bool
    prefixes: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def bound_in(node: ast.ClassDef) -> Bound:
    """Return what a class binds: members, attributes of anything, and words in quotes that stand for attributes."""
    names: set[str] = set()
    hidden = any(unparsed(one.value).rpartition(".")[2] != "ABCMeta" for one in node.keywords)
    nodes = list(walk(node))
    prefixes = _prefixes(nodes)
    augmented = {id(one.target) for one in nodes if isinstance(one, ast.AugAssign)}  # read before written
    for one in nodes:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(one.name)
        elif isinstance(one, ast.Attribute):
            if isinstance(one.ctx, ast.Store | ast.Del) and id(one) not in augmented:
                names.add(one.attr)
            hidden = hidden or (one.attr in _HIDING and _is_self(one.value))
        elif isinstance(one, ast.Call):
            known = isinstance(one.func, ast.Name) and one.func.id in _HIDING
            hidden = hidden or (known and (not one.args or _is_self(one.args[0]))) or _registers_any(one)
            names |= {_word(given) for given in one.args} - {""}
        elif isinstance(one, ast.List | ast.Tuple):
            names |= {_word(given) for given in one.elts} - {""}
    for statement in _class_level(node.body):
        names |= {one.id for one in nodes_of(statement, ast.Name) if isinstance(one.ctx, ast.Store)}
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {(one.asname or one.name).partition(".")[0] for one in statement.names}
    return Bound(frozenset(names), hidden or bool(names & _HIDING) or "" in prefixes, prefixes)


def _is_self(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id in ("self", "cls")) or isinstance(node, ast.Call)


def _registers_any(call: ast.Call) -> bool:
    """Say whether a call registers a part of a module under a name that is made up."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    registers = name in ("add_module", "register_buffer", "register_parameter", "register_module") and call.args
    return bool(registers) and not isinstance(call.args[0], ast.Constant | ast.Name)


def _prefixes(nodes: list[ast.AST]) -> frozenset[str]:
    """Return how names begin that are made up, kept in a variable and given to `add_module`; "" if that is unknown."""
    calls = [one for one in nodes if isinstance(one, ast.Call) and getattr(one.func, "attr", "") == "add_module"]
    names = {one.args[0].id for one in calls if one.args and isinstance(one.args[0], ast.Name)}
    made = [one for one in nodes if isinstance(one, ast.Assign)] if names else []
    return frozenset(
        _beginning(one.value)
        for one in made
        for target in one.targets
        if isinstance(target, ast.Name) and target.id in names
    )


def _beginning(node: ast.expr) -> str:
    """Return the written beginning of a text that is put together."""
    while not isinstance(node, ast.Constant):
        if isinstance(node, ast.JoinedStr) and node.values:
            node = node.values[0]
        elif isinstance(node, ast.BinOp):
            node = node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            node = node.func.value
        else:
            return ""
    return re.split(r"[{%]", node.value)[0] if isinstance(node.value, str) else ""


def _word(node: ast.expr) -> str:
    """Return a word in quotes that may name an attribute."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and value.isidentifier() else ""


def _class_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement


def ancestors(cls: ProjectClass, depth: int = 0) -> list[ProjectClass]:
    """Return a class and the project's classes that it descends from."""
    found = [cls]
    if depth < 12:
        for base in cls.bases:
            if isinstance(base, ProjectClass):
                found += ancestors(base, depth + 1)
    return found


def own_attributes(cls: ProjectClass) -> frozenset[str] | None:
    """Return every attribute that a class's objects have by its text and that of its bases; None if unknowable."""
    names: set[str] = set(_OBJECT)
    for one in ancestors(cls):
        if any(not isinstance(base, ProjectClass) and getattr(base, "name", "") not in OUTSIDE for base in one.bases):
            return None
    for one in ancestors(cls):
        bound = bound_in(one.node)
        if bound.hidden or any(not _is_plain(decorator) for decorator in one.node.decorator_list):
            return None
        names |= bound.names
        for base in one.bases:
            if isinstance(base, ProjectClass):
                continue
            known = OUTSIDE.get(base.name) if isinstance(base, Ref) else None
            if known is None:
                return None
            names |= known
    prefixes = tuple({prefix for one in ancestors(cls) for prefix in bound_in(one.node).prefixes})
    if prefixes:
        inside = [one for base in ancestors(cls) for one in nodes_of(base.node, ast.Attribute)]
        names |= {one.attr for one in inside if one.attr.startswith(prefixes)}
    return frozenset(names)


def _is_plain(decorator: ast.expr) -> bool:
    """Say whether a class decorator only registers the class."""
    text = unparsed(decorator)
    return "register" in text.lower() and "dataclass" not in text


def bound_elsewhere(path: str, cls: ProjectClass, name: str) -> bool:
    """Say whether another file, or class, may give the attribute to objects of a class; yes if that cannot be read."""
    files = project_files(path)
    if files is None:
        return True
    outside = re.compile(
        rf"(?<!self)(?<!args)(?<!opt)(?<!opts)(?<!cfg)(?<!config)(?<!params)(?<!conf)\.{name}[ \t]*=[^=]|"
        rf"setattr\([^()\n]*(?:\([^()\n]*\))?[^()\n]*['\"]{name}['\"]"
    )
    family = {one.node.name for one in ancestors(cls)}
    texts = {cls.source.path: cls.source.text} | {file: text_of(file) for file in files}
    if any(outside.search(text) for text in texts.values() if name in text):
        return True
    headers = [found for text in texts.values() for found in _headers(text)]
    relatives = _relatives(cls.node.name, headers)
    if relatives - family - {one for one, _ in headers} - _NAMELESS or ("Module" in relatives and name in OF_MODULES):
        return True  # one that descends from it is also something of a library
    member = re.compile(rf"\b(?:def|class)\s+{name}\b|^[ \t]+{name}\s*[:=]|"
                        rf"\bself\s*\.\s*{name}\s*(?::[^=\n]+)?=[^=]|,\s*self\.{name}\b[^=\n]*=[^=]|"
                        rf"\bself\.{name}\s*,[^=\n]*=[^=]", re.MULTILINE)  # fmt: skip
    others = relatives - family
    return any(
        member.search(text) for text in texts.values() if name in text and others & {one for one, _ in _headers(text)}
    )


def overridden_elsewhere(path: str, cls: ProjectClass, name: str) -> bool:
    """Say whether a class that descends from a class may have its own method of a name; yes if that cannot be read."""
    return _is_below(path, cls, re.compile(rf"\bdef\s+{name}\b"), own=1)


def replaced_below(path: str, cls: ProjectClass, name: str) -> bool:
    """Say whether a class that descends from a class, or anybody, may give a method's name another value."""
    given = re.compile(rf"^[ \t]+{name}\s*[:=]|\.{name}[ \t]*=[^=]|setattr\([^()\n]*['\"]{name}['\"]", re.MULTILINE)
    return bool(given.search(cls.source.text)) or _is_below(path, cls, given, own=0)


def _is_below(path: str, cls: ProjectClass, wanted: re.Pattern[str], *, own: int) -> bool:
    """Say whether the text of a class that descends from a class has more than what its own file has."""
    files = project_files(path)
    if files is None:
        return True
    texts = {cls.source.path: cls.source.text} | {file: text_of(file) for file in files}
    below = {cls.node.name}
    headers = {file: _headers(text) for file, text in texts.items() if "class" in text}
    for _ in range(4):
        below |= {one for found in headers.values() for one, bases in found if below & set(bases)}
    below.discard(cls.node.name)
    return any(
        len(wanted.findall(texts[file])) > (own if Path(file).name == Path(cls.source.path).name else 0)
        for file, found in headers.items()
        if below & {one for one, _ in found}
    )


def _relatives(name: str, headers: list[tuple[str, tuple[str, ...]]]) -> set[str]:
    """Return what descends from a class, with all that these descend from."""
    bases: dict[str, set[str]] = {}
    for one, given in headers:
        bases.setdefault(one, set()).update(given)
    related = {name}
    for _ in range(12):
        related |= {one for one, given in bases.items() if given & related}
    for _ in range(12):
        related |= {base for one in related for base in bases.get(one, ())}
    return related


@lru_cache(maxsize=4096)
def _headers(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the classes of a program with the last parts of their bases' names."""
    found = []
    for match in _CLASS.finditer(text):
        bases = [one.split("[")[0].strip().rpartition(".")[2] for one in (match[2] or "").split(",") if "=" not in one]
        found.append((match[1], tuple(one for one in bases if one)))
    return tuple(found)
