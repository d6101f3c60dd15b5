"""A setting is kept, and not handed on with the others.

What it finds:
    An object that keeps `self.units = units` and `self.columns = columns` and makes its data by
    `load(path, units=self.units)`, where `load` takes `columns`, too, and nothing ever reads `self.columns`.

Why:
    What was asked for has no effect: all columns are read.

How sure:
    No file of the project reads the attribute, or has its name in quotes, and the class does not ask for all that it
    has. What is called gets other settings of the object by their names, and has a parameter of this name, or hands its
    `**options` on to something that has.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, setting_is_read, text_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


def load(path, units=None, columns=None):
    table = torch.load(path)
    return {one: table[one] for one in columns or table}, units


class Data:
    def __init__(self, path, units=None, columns=None):
        self.path = path
        self.units = units
        self.columns = columns

    def setup(self):
        self.table = load(self.path, units=self.units)  # <- TW864
"""

GOOD = """\
import torch


def load(path, units=None, columns=None):
    table = torch.load(path)
    return {one: table[one] for one in columns or table}, units


class Data:
    def __init__(self, path, units=None, columns=None):
        self.path = path
        self.units = units
        self.columns = columns

    def setup(self):
        self.table = load(self.path, units=self.units, columns=self.columns)
"""


@rule(code="TW864", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes with settings that nothing reads."""
    if "torch" not in analysis.source.words or "save_hyperparameters" in analysis.source.words:
        return
    for cls in analysis.nodes.get(ast.ClassDef, []):
        calls = [one for one in nodes_of(cls, ast.Call) if _gets_own(one)]
        unread = _unread(analysis, cls) if calls and isinstance(cls, ast.ClassDef) else {}
        for call in calls if unread else ():
            given = {one.arg for one in call.keywords}
            if None in given or not isinstance(call.func, ast.Name):
                continue
            for name in unread:
                written = any(isinstance(one, ast.Starred) or name in unparsed(one) for one in call.args)
                if name in given or written or not _takes(analysis, call.func.id, name):
                    continue
                if setting_is_read(analysis.source.path, name, getattr(cls, "name", "")) is False:
                    yield Hit(
                        place=analysis.source.place(call),
                        message=f"`{name}` is kept, is taken here, and goes nowhere",
                        evidence=(Evidence("it is kept here", analysis.source.place(unread[name])),),
                        fix=f"Write `{name}=self.{name}`.",
                    )


def _unread(analysis: Analysis, cls: ast.ClassDef) -> dict[str, ast.Assign]:
    """Return the parameters that a constructor keeps under their names, and that its file never reads."""
    init = next((one for one in cls.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if any(
        unparsed(one) in ("vars(self)", "self.__dict__")
        for one in walk(cls)
        if isinstance(one, ast.Call | ast.Attribute)
    ):
        return {}
    kept = {}
    for one in walk(init) if init is not None else ():
        target = one.targets[0] if isinstance(one, ast.Assign) else None
        if not isinstance(one, ast.Assign) or not isinstance(target, ast.Attribute):
            continue
        if getattr(target.value, "id", "") == "self" and getattr(one.value, "id", "") == target.attr:
            kept[target.attr] = one
    text = analysis.source.code
    return {name: one for name, one in kept.items()
            if not re.search(rf"\.{name}\b(?!\s*=[^=])|['\"]{name}['\"]", text)}  # fmt: skip


def _gets_own(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and any(_is_own(one) for one in call.keywords)


def _is_own(keyword: ast.keyword) -> bool:
    """Say whether an argument is the object's setting of that name."""
    value = keyword.value
    return isinstance(value, ast.Attribute) and value.attr == keyword.arg and getattr(value.value, "id", "") == "self"


def _takes(analysis: Analysis, called: str, name: str) -> bool:
    """Say whether a function or class of the project takes an argument of a name, or hands it on to one that does."""
    head = re.compile(rf"^\s*(def|class) {called}\b", re.MULTILINE)
    for file in project_files(analysis.source.path) or (analysis.source.path,):
        text = analysis.source.text if file == analysis.source.path else text_of(file)
        if name in text and head.search(text) is not None:
            defined = _defined(text)
            return called in defined and (_has(defined[called], name) or _hands_on(defined, called, name))
    return False


@lru_cache(maxsize=64)
def _defined(text: str) -> dict[str, ast.AST]:
    """Return the functions and classes of a program by name."""
    try:
        every = walk(ast.parse(text))
    except (SyntaxError, ValueError):
        return {}
    methods = {inner for one in every if isinstance(one, ast.ClassDef) for inner in one.body}
    found = [one for one in every if isinstance(one, ast.FunctionDef | ast.ClassDef) and one not in methods]
    return {one.name: one for one in reversed(found)}


def _makers(node: ast.AST) -> list[ast.FunctionDef]:
    """Return the function that runs when a function or class is called."""
    every = [node, *(node.body if isinstance(node, ast.ClassDef) else [])]
    return [one for one in every if isinstance(one, ast.FunctionDef) and (one is node or one.name == "__init__")]


def _has(node: ast.AST, name: str) -> bool:
    return any(name in {arg.arg for arg in (*one.args.args, *one.args.kwonlyargs)} for one in _makers(node))


def _hands_on(defined: dict[str, ast.AST], called: str, name: str) -> bool:
    """Say whether a function hands its `**options` on to a class or function of its file that has the parameter."""
    for maker in _makers(defined[called]):
        rest = maker.args.kwarg.arg if maker.args.kwarg is not None else ""
        for one in walk(maker) if rest else ():
            if isinstance(one, ast.Call) and getattr(one.func, "id", "") in defined:
                given = any(key.arg is None and getattr(key.value, "id", "") == rest for key in one.keywords)
                if given and _has(defined[getattr(one.func, "id", "")], name):
                    return True
    return False
