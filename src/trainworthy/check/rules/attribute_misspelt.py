"""An attribute is set under a misspelt name.

What it finds:
    `args.distribued = int(os.environ["WORLD_SIZE"]) > 1` where nothing reads `distribued`, and `args.distributed` is
    set and read.

Why:
    The attribute that is asked for keeps its first value: the run is never distributed.

How sure:
    The names differ by one letter within a word, not at its end; no file of the project reads the misspelt one; the
    other one is both set and read in this file, on the same object, and not in the statement that sets the first: on
    `self`, in the class or its bases, on another name with a mention in the function that sets the misspelt one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.everywhere import is_read_in_project
from trainworthy.check.static.slips import is_slip
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import os

import torch


def prepare(args):
    args.distributed = False
    if "WORLD_SIZE" in os.environ:
        args.distribued = int(os.environ["WORLD_SIZE"]) > 1  # <- TW865
    if args.distributed:
        torch.distributed.init_process_group("nccl")
"""

GOOD = """\
import os

import torch


def prepare(args):
    args.distributed = False
    if "WORLD_SIZE" in os.environ:
        args.distributed = int(os.environ["WORLD_SIZE"]) > 1
    if args.distributed:
        torch.distributed.init_process_group("nccl")
"""

_SHORTEST = 6


@rule(code="TW865", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes that are set and never read."""
    if "torch" not in analysis.source.words:
        return
    stored: dict[tuple[str, str], ast.Attribute] = {}
    read: dict[tuple[str, str], ast.Attribute] = {}
    for one in analysis.nodes.get(ast.Attribute, []):
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            (stored if isinstance(one.ctx, ast.Store) else read).setdefault((one.value.id, one.attr), one)
    unread = set(stored) - set(read)
    for holder, name in sorted(unread) if set(stored) & set(read) else ():
        if len(name) < _SHORTEST or name in {attr for _, attr in read}:
            continue
        for other in sorted(attr for at, attr in read if at == holder and (at, attr) in stored):
            if (
                is_slip(name, other)
                and not _is_second_name(analysis, stored[holder, name], other)
                and _is_of_one_object(analysis, stored[holder, name], other)
                and is_read_in_project(analysis.source.path, name) is False
            ):
                yield Hit(
                    place=analysis.source.place(stored[holder, name]),
                    message=f"nothing reads `{holder}.{name}`; `{holder}.{other}` is what is asked for",
                    evidence=(Evidence("it is read here", analysis.source.place(read[holder, other])),),
                    fix=f"Write `{holder}.{other}`.",
                )


def _is_second_name(analysis: Analysis, stored: ast.AST, other: str) -> bool:
    """Say whether the statement that sets an attribute has the other one in it, too."""
    statement = analysis.parents.get(stored)
    every = walk(statement) if isinstance(statement, ast.Assign) else []
    return any(isinstance(one, ast.Attribute) and one.attr == other for one in every)


def _is_of_one_object(analysis: Analysis, stored: ast.Attribute, other: str) -> bool:
    """Say whether one class with its bases, or the function that sets the misspelt attribute, knows both."""
    holder, name = unparsed(stored.value), stored.attr
    classes = [one for one in analysis.nodes.get(ast.ClassDef, []) if isinstance(one, ast.ClassDef)]
    function = function_around(analysis.parents, stored)
    named = {cls.name: cls for cls in classes}
    scopes: list[list[ast.AST]] = [[function]] if function is not None else []
    alone = [one for one in classes if not any(isinstance(each, ast.ClassDef) for each in walk(one)[1:])]
    scopes += [_family(one, named) for one in alone] if holder == "self" else []  # `self` means one class in each
    known = [_attributes(scope, holder) for scope in scopes]
    if holder != "self" and not any((name, True) in one for one in known):  # at the top of the file
        return True
    return any((name, True) in one and one & {(other, True), (other, False)} for one in known)


def _attributes(scope: list[ast.AST], holder: str) -> set[tuple[str, bool]]:
    """Return the attributes of a name in some part of the program, and whether they are set there."""
    every = [one for part in scope for one in nodes_of(part, ast.Attribute)]
    return {(one.attr, isinstance(one.ctx, ast.Store)) for one in every if getattr(one.value, "id", "") == holder}


def _family(cls: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> list[ast.AST]:
    """Return a class and those of its bases, and of theirs, that the file defines."""
    found: list[ast.ClassDef] = [cls]
    for one in found:
        bases = [classes.get(unparsed(base).rpartition(".")[2]) for base in one.bases]
        found += [base for base in bases if base is not None and base not in found]
    return list(found)
