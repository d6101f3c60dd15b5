"""A seed is taken and never used.

What it finds:
    A field or attribute called `seed` or `random_state` of a class that makes or reads data, which nothing in the
    project reads.

Why:
    Who sets it believes that runs can be repeated, or that they differ. Neither is so.

How sure:
    Every program of the project is searched. Silent about configurations that are handed on as a whole, about classes
    that only hold values, about interfaces and stubs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
from dataclasses import dataclass

import torch


@dataclass
class Tokens:
    path: str
    batch_size: int = 8
    seed: int = 42

    def loader(self):
        data = torch.load(self.path)
        return torch.utils.data.DataLoader(data, batch_size=self.batch_size, shuffle=True)  # <- TW673
"""

GOOD = """\
from dataclasses import dataclass

import torch


@dataclass
class Tokens:
    path: str
    batch_size: int = 8
    seed: int = 42

    def loader(self):
        data = torch.load(self.path)
        generator = torch.Generator().manual_seed(self.seed)
        return torch.utils.data.DataLoader(data, batch_size=self.batch_size, shuffle=True, generator=generator)
"""

_NAMES = frozenset({"seed", "random_state", "random_seed"})
_DRAWS = ("shuffle", "rand", "Dataset", "DataLoader", "sample", "choice", "permutation")
_AS_A_WHOLE = ("asdict", "vars(", "__dict__", "getattr(", "save_hyperparameters", "fields(", "**self", "locals(")


@rule(code="TW673", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes that take a seed."""
    if "torch" not in analysis.source.words or not analysis.source.words & _NAMES:
        return
    for cls in analysis.nodes.get(ast.ClassDef, []):
        if not isinstance(cls, ast.ClassDef):
            continue
        for name, at in _taken(cls):
            if _is_read(cls, name) or not _draws(cls) or _has_relatives(analysis, cls):
                continue
            if not _read_here(analysis, name) and not _read_elsewhere(analysis, cls.name, name):
                yield Hit(
                    place=analysis.place(_drawn(cls) or at),
                    message=f"nothing reads the `{name}` of `{cls.name}`: what it draws does not follow it",
                    evidence=(Evidence("the seed", analysis.place(at)),),
                    fix="Hand it to what draws, or remove it.",
                )


def _drawn(cls: ast.ClassDef) -> ast.Call | None:
    """Return the first call of a class that shuffles."""
    calls = [one for one in nodes_of(cls, ast.Call) if any(kw.arg == "shuffle" for kw in one.keywords)]
    return min(calls, key=lambda one: one.lineno) if calls else None


def _taken(cls: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Yield the seeds that a class keeps: fields of a dataclass and attributes that its constructor sets."""
    data = any("dataclass" in unparsed(one) for one in cls.decorator_list)
    for one in cls.body:
        if data and isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.target.id in _NAMES:
            yield one.target.id, one
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            for store in walk(one):
                value = store.value if isinstance(store, ast.Assign) else None
                if isinstance(value, ast.Name) and value.id in _NAMES and isinstance(store, ast.Assign):
                    target = store.targets[0]
                    uses = sum(isinstance(n, ast.Name) and n.id == value.id for n in walk(one))
                    if isinstance(target, ast.Attribute) and unparsed(target.value) == "self" and uses == 1:
                        yield target.attr, store


def _is_read(cls: ast.ClassDef, name: str) -> bool:
    return any(
        isinstance(one, ast.Attribute) and one.attr == name and isinstance(one.ctx, ast.Load) for one in walk(cls)
    )


def _draws(cls: ast.ClassDef) -> bool:
    """Say whether a class has methods that draw or load, and none that hands itself on as a whole."""
    methods = [one for one in cls.body if isinstance(one, ast.FunctionDef)]
    text = "\n".join(unparsed(one) for one in methods)
    return any(one in text for one in _DRAWS) and not any(one in text for one in _AS_A_WHOLE)


def _has_relatives(analysis: Analysis, cls: ast.ClassDef) -> bool:
    """Say whether another class may read what this one keeps: one that descends from it, or that it descends from."""
    others = [one for one in analysis.nodes.get(ast.ClassDef, []) if isinstance(one, ast.ClassDef)]
    return any(cls.name in {unparsed(base) for base in one.bases} for one in others)


def _read_here(analysis: Analysis, name: str) -> bool:
    """Say whether this file reads an attribute of that name of anything but `self`."""
    return any(
        isinstance(one, ast.Attribute) and one.attr == name and isinstance(one.ctx, ast.Load)
        and not (isinstance(one.value, ast.Name) and one.value.id in ("self", "args"))
        for one in analysis.nodes.get(ast.Attribute, [])
    )  # fmt: skip


def _read_elsewhere(analysis: Analysis, cls: str, name: str) -> bool:
    """Say whether another program reads a seed of what may be an object of this class: its name or its file says so."""
    files = project_files(analysis.source.path)
    if files is None:
        return True
    parts = {one.lower() for one in re.findall(r"[A-Z]+[a-z]*|[a-z]+", cls)}
    reads = re.compile(rf"(\w+)\.{name}\b(?!\s*=[^=])(?!\s*\()")
    for text in map(text_of, files):
        for holder in reads.findall(text) if name in text else ():
            own = set(holder.lower().split("_")) & parts
            if own or (cls in text and holder not in ("torch", "np", "numpy", "random", "args", "self")):
                return True
    return False
