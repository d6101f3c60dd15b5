"""A method reads an attribute of its object that nothing sets.

What it finds:
    `self.softmax(x)` in a class none of whose methods, bases or descendants binds `softmax`, though another class of
    the project may have one of that name.

Why:
    AttributeError, perhaps in the branch for the other loss or in the evaluation after the first epoch.

How sure:
    Every base is of the project, `nn.Module` or a data set, and the class is no mixin. Silent if the name is asked
    for by `hasattr`, is set on any other object, or if the class or a base of it reaches its attributes in another way.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.everywhere import may_be_set_elsewhere
from trainworthy.check.static.queries import names_in
from trainworthy.check.static.values import ProjectClass, Ref

BAD = """\
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=1)


class Decoder(nn.Module):
    def __init__(self, width, final="sigmoid"):
        super().__init__()
        self.final = final
        self.layer = nn.Linear(width, width)

    def forward(self, x):
        x = self.layer(x)
        return self.softmax(x) if self.final == "softmax" else torch.sigmoid(x)  # <- TW816
"""

GOOD = """\
import torch
from torch import nn


class Decoder(nn.Module):
    def __init__(self, width, final="sigmoid"):
        super().__init__()
        self.final = final
        self.layer = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = self.layer(x)
        return self.softmax(x) if self.final == "softmax" else torch.sigmoid(x)
"""

_BASES = frozenset(
    {"torch.nn.Module", "torch.utils.data.Dataset", "torch.utils.data.IterableDataset", "builtins.object", "abc.ABC"}
)
_OF_MODULES = frozenset(
    "T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double eval "
    "extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules "
    "mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook "
    "register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook "
    "register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook "
    "register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ "
    "set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad".split()
)
_LOOKS = re.compile(r"(?:attr|register_\w+|add_module)$")
_OTHER_WAYS = re.compile(
    r"__getattr|__dict__|setattr|\bvars\(|__slots__|add_module\(\s*[^'\"]|register_\w+\(\s*[^'\"]|_modules\b|"
    r"register_hparams|\blocals\("
)
_FILLS = re.compile(r"attr|set|update|param|config|load|init")


@rule(code="TW816", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the classes of a file, and what their methods read of their own objects."""
    if "torch" not in analysis.source.words:
        return
    set_on_objects: frozenset[str] | None = None
    for cls in analysis.classes:
        family = _family(cls)
        if family is None or cls.node.decorator_list or cls.node.keywords:
            continue
        own = _bound_in(cls.node)
        if all(one.attr in own for one in _read_of_self(cls.node)):
            continue
        if _is_a_mixin(cls, family) or any(_is_filled_otherwise(one) for one in family):
            continue
        bound = {name for one in family for name in _bound_in(one.node)}
        for node in analysis.nodes.get(ast.ClassDef, []):
            if isinstance(node, ast.ClassDef) and cls.node.name in {n for base in node.bases for n in names_in(base)}:
                bound |= _bound_in(node)
        missing = [one for one in _read_of_self(cls.node) if one.attr not in bound]
        if missing:
            tried = {inner for one in ast.walk(cls.node) if isinstance(one, ast.Try) for inner in ast.walk(one)}
            missing = [one for one in missing if one not in tried]
        if missing and set_on_objects is None:
            set_on_objects = _set_on_objects(analysis)
        said: set[str] = set()
        for one in missing:
            if one.attr in said or one.attr in (set_on_objects or ()) or one.attr.startswith("__"):
                continue
            said.add(one.attr)
            names = {member.node.name for member in family}
            if not may_be_set_elsewhere(analysis.source.path, one.attr, cls.node.name):
                yield Hit(
                    place=analysis.source.place(one),
                    message=f"nothing sets `{one.attr}` of {' or '.join(sorted(names))}",
                    evidence=(Evidence("the class", _header(analysis, cls)),),
                )


def _family(cls: ProjectClass) -> list[ProjectClass] | None:
    """Return a class and its bases; None if any of them is not understood."""
    found: list[ProjectClass] = []
    left = [cls]
    while left and len(found) < 20:
        one = left.pop()
        found.append(one)
        for base in one.bases:
            if isinstance(base, ProjectClass):
                left.append(base)
            elif not isinstance(base, Ref) or base.name not in _BASES:
                return None
    return found


@lru_cache(maxsize=1024)
def _is_filled_otherwise(cls: ProjectClass) -> bool:
    """Say whether a class may set attributes by text, or hands itself to a function that does."""
    if _OTHER_WAYS.search(cls.source.segment(cls.node)):
        return True
    for one in ast.walk(cls.node):
        if isinstance(one, ast.Call) and any(getattr(arg, "id", "") == "self" for arg in one.args):
            name = getattr(one.func, "attr", getattr(one.func, "id", ""))
            if not name.startswith("__") and _FILLS.search(name):
                return True
    return False


def _is_a_mixin(cls: ProjectClass, family: list[ProjectClass]) -> bool:
    """Say whether a class is there to be put beside others, which have what it reads."""
    bases = {base.name for one in family for base in one.bases if isinstance(base, Ref)}
    made = any("__init__" in one.members for one in family) or "torch.nn.Module" in bases
    return "mixin" in cls.node.name.lower() or not made


@lru_cache(maxsize=1024)
def _bound_in(node: ast.ClassDef) -> frozenset[str]:
    """Return the attributes that a class's body and methods bind, on whatever object, and those of all modules."""
    found = set(_OF_MODULES)
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and not isinstance(one.ctx, ast.Load):
            found.add(one.attr)
        elif isinstance(one, Def | ast.ClassDef):
            found.add(one.name)
        elif isinstance(one, ast.Call) and _LOOKS.search(ast.unparse(one.func)):
            found |= {text for arg in one.args if isinstance(text := getattr(arg, "value", None), str)}
    for statement in ast.walk(ast.Module([one for one in node.body if not isinstance(one, Def)], [])):
        if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
            found.add(statement.id)
        elif isinstance(statement, ast.alias):
            found.add(statement.asname or statement.name)
    return frozenset(found)


@lru_cache(maxsize=1024)
def _read_of_self(node: ast.ClassDef) -> list[ast.Attribute]:
    """Return the attributes that a class's methods read of their first argument."""
    found = []
    for method in node.body:
        if not isinstance(method, Def) or not method.args.args or method.args.args[0].arg != "self":
            continue
        for one in ast.walk(method):
            if (
                isinstance(one, ast.Attribute)
                and isinstance(one.ctx, ast.Load)
                and isinstance(one.value, ast.Name)
                and one.value.id == "self"
                and not one.attr.startswith("_")
            ):
                found.append(one)
    return sorted(found, key=lambda one: one.lineno)


def _set_on_objects(analysis: Analysis) -> frozenset[str]:
    """Return the attributes that the file sets on anything but `self`."""
    return frozenset(
        one.attr
        for one in analysis.nodes.get(ast.Attribute, [])
        if isinstance(one, ast.Attribute)
        and not isinstance(one.ctx, ast.Load)
        and getattr(one.value, "id", "") != "self"
    )


def _header(analysis: Analysis, cls: ProjectClass) -> Place:
    where = analysis.source.place(cls.node)
    return where._replace(end_line=where.line, end_column=None)
