"""A misspelt attribute is set, and the one that is asked for stays as it was.

What it finds:
    `args.distribued = True` where the file reads `args.distributed`: an attribute that is set and read nowhere in the
    project, one slip of the fingers away from one that is read of the same object.

Why:
    Python makes a new attribute. The switch that was to be set keeps its default, and nothing says so.

How sure:
    Every program of the project is searched for the name. Other endings, plurals and numbers are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.slips import is_slip

BAD = """\
import os

import torch


def prepare(args, model):
    args.distributed = False
    if "WORLD_SIZE" in os.environ:
        args.distribued = int(os.environ["WORLD_SIZE"]) > 1  # <- TW863
    if args.distributed:
        model = torch.nn.parallel.DistributedDataParallel(model)
    return model
"""

GOOD = """\
import os

import torch


def prepare(args, model):
    args.distributed = False
    if "WORLD_SIZE" in os.environ:
        args.distributed = int(os.environ["WORLD_SIZE"]) > 1
    if args.distributed:
        model = torch.nn.parallel.DistributedDataParallel(model)
    return model
"""


@rule(code="TW863", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes that are set and not read."""
    if "torch" not in analysis.source.words:
        return
    stored: dict[str, list[ast.Attribute]] = {}
    read: dict[str, dict[str, ast.Attribute]] = {}
    for one in analysis.nodes.get(ast.Attribute, []):
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            if isinstance(one.ctx, ast.Store):
                stored.setdefault(one.attr, []).append(one)
            else:
                read.setdefault(_object(analysis, one), {}).setdefault(one.attr, one)
    for name, places in stored.items():
        if len(name) < 6 or len(places) > 1 or any(name in of for of in read.values()):
            continue
        at = places[0]
        here = read.get(_object(analysis, at), {})
        near = next((one for one in here if is_slip(name, one)), None)
        if near is not None and _occurs_once(analysis, name):
            yield Hit(
                place=analysis.place(at),
                message=f"nothing reads `{name}`; `{near}` stays as it was",
                evidence=(Evidence("the other one is read here", analysis.place(here[near])),),
                fix=f"Write `{near}`.",
            )


def _object(analysis: Analysis, node: ast.Attribute) -> str:
    """Name what an attribute is of: a variable, or the class whose `self` it is."""
    name = ast.unparse(node.value)
    around: ast.AST | None = node
    while name == "self" and around is not None and not isinstance(around, ast.ClassDef):
        around = analysis.parents.get(around)
    return f"self of {around.name}" if isinstance(around, ast.ClassDef) else name


def _occurs_once(analysis: Analysis, name: str) -> bool:
    word = re.compile(rf"\b{re.escape(name)}\b")
    if len(word.findall(analysis.source.text)) != 1:
        return False
    files = project_files(analysis.source.path)
    return files is not None and sum(len(word.findall(text)) for text in map(text_of, files) if name in text) <= 1
