"""A command-line option that nothing reads.

What it finds:
    `add_argument("--weight-decay", ...)` in a training script when no file of the project ever reads that attribute.

Why:
    What is given on the command line has no effect: the run is not the one that was asked for.

How sure:
    Every file of the project is searched, also for the name in quotes. Silent if the options are used as a whole
    (`vars(args)`, `**`, `getattr`, a config object made of them), if the parser is handed on, and if the options go to
    a function of another project. `--local-rank` is left out: a launcher gives it to every script.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import is_read_in_project
from trainworthy.check.static.facts import Call
from trainworthy.check.static.options import destination
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Ref

BAD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--weight-decay", type=float, default=0.0)  # <- TW812
args = parser.parse_args()
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
"""

GOOD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--weight-decay", type=float, default=0.0)
args = parser.parse_args()
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
"""

# What is called with the options and reads none of them by name.
_ONLY_SHOWS = frozenset({"builtins", "logging", "pprint", "print", "str", "repr"})
_AS_A_WHOLE = re.compile(
    r"\bvars\(|__dict__|getattr\(|setattr\(|_get_kwargs|\*\*\s*(args|opt|opts|options|config|cfg|hparams|FLAGS)\b|"
    r"from_argparse_args|add_argparse_args|parse_known_args|OmegaConf|EasyDict|parents\s*=|Namespace"
)


# Given by `torch.distributed.launch`, whether the script wants it or not: without the option it would stop.
_FOR_LAUNCHERS = frozenset({"local_rank"})


@rule(code="TW812", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the options of a file that also parses them."""
    code = analysis.source.code
    if "add_argument" not in code or ".parse_args(" not in code or _AS_A_WHOLE.search(code) or "torch" not in code:
        return
    if _handed_outside(analysis):
        return
    for call in once_per_place(analysis.method_calls("add_argument")):
        name = destination(call)
        if name is None or call.context.source is not analysis.source or not _stores_a_value(call):
            continue
        if name in _FOR_LAUNCHERS:
            continue
        if re.search(rf"\.\s*{re.escape(name)}\b(?!\s*=[^=])|['\"]{re.escape(name)}['\"]", code):
            continue  # most are read here, and the project need not be
        if is_read_in_project(analysis.source.path, name) is False:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"nothing reads `{name}`",
                fix="Use it where it is meant, or remove it.",
            )


def _handed_outside(analysis: Analysis) -> bool:
    """Say whether the parsed options go as a whole to code that is not of the project: it may read any of them."""
    names = {
        target.id
        for node in analysis.nodes.get(ast.Assign, ())
        if isinstance(node, ast.Assign) and getattr(getattr(node.value, "func", None), "attr", "") == "parse_args"
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return any(
        call.context.source is analysis.source
        and isinstance(call.owner, Ref)
        and call.name.partition(".")[0] not in _ONLY_SHOWS
        and any(isinstance(one, ast.Name) and one.id in names for one in _given(call.node))
        for call in analysis.all_calls
    )


def _given(node: ast.Call) -> list[ast.expr]:
    return [*node.args, *[one.value for one in node.keywords]]


def _stores_a_value(call: Call) -> bool:
    """Say whether an option stores what it is given, or that it is given; others print, count or call."""
    return call.keywords.get("action") is None or call.constant(None, "action") in (
        "store",
        "store_true",
        "store_false",
    )
