"""A command-line flag stores the value that the option has anyway.

What it finds:
    `add_argument("--flag", action="store_true", default=True)`, and `store_false` with a default of False; the default
    may also stand in `set_defaults`, and be anything that is always true: a function, as in
    `action="store_true", default=str2bool`, or a text that is not empty (`default="False"`). Likewise
    `add_argument("--augment", action="store_false", help="use augmentation")`, which turns off what its name and its
    help say that it turns on.

Why:
    With the flag and without it, the option is the same: it cannot be turned off, or on. A flag that does the opposite
    of what it says is on for all who do not know it.

How sure:
    Certain that the flag changes nothing. Silent if another option of the file has the same `dest`. Of the opposite:
    the option is stored under the flag's own name, which has no word for off in it, and the help begins with a word for
    on (allow, enable, use, apply) and has none for off, nor does it speak of a default. A hint where a default of True
    is written out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.options import destination
from trainworthy.check.static.queries import once_per_place, receiver
from trainworthy.check.static.values import Function, ProjectClass, Ref

BAD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--no-shuffle", action="store_false", default=False)  # <- TW810
"""

GOOD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--no-shuffle", dest="shuffle", action="store_false", default=True)
"""

_STORED = {"store_true": True, "store_false": False}


@rule(code="TW810", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at options without a value."""
    options = list(once_per_place(analysis.method_calls("add_argument")))
    names = [destination(one) for one in options]
    for call, name in zip(options, names, strict=True):
        stored = _STORED.get(str(call.constant(None, "action")))
        if stored is None or name is None or names.count(name) > 1:
            continue
        default, where = _default(analysis, call, name)
        if stored is False and default in (..., None, True) and _says_on(call, name):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"this flag turns `{name}` off, and says that it turns it on",
                fix='Use `action="store_true"`, or call it `--no-...` with a `dest`.',
                severity="hint" if default is True else None,  # who writes the default out may know
            )
        elif stored and _is_always_true(call):
            written = next((one for one in call.node.keywords if one.arg == "default"), call.node)
            yield Hit(
                place=analysis.place(written, call.context),
                message=f"the default of `{name}` counts as true: it is on with this flag and without it",
                fix="`default=False`.",
            )
        elif default is stored:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{name}` is {stored} with this flag and without it",
                evidence=() if where is None else (Evidence("its default", analysis.place(where, call.context)),),
                fix="Use `action=argparse.BooleanOptionalAction`, or the other value as default.",
            )


def _default(analysis: Analysis, call: Call, name: str) -> tuple[object, ast.AST | None]:
    """Return an option's default and where it stands if that is elsewhere; Ellipsis if none is written."""
    for one in analysis.method_calls("set_defaults"):
        if receiver(one) == receiver(call) and name in one.keywords:
            return one.constant(None, name), one.node
    return call.constant(None, "default"), None


def _is_always_true(call: Call) -> bool:
    """Say whether a default is no truth value and true all the same: a function, a class or a text."""
    value = call.keywords.get("default")
    if isinstance(value, Function | ProjectClass) or (isinstance(value, Ref) and _IS_CALLED.search(value.name)):
        return True
    default = call.constant(None, "default")
    return isinstance(default, str) and default.strip().lower() in ("false", "no", "off", "0")


_IS_CALLED = re.compile(r"^builtins\.(bool|int|str|float)$|(^|\.)(str_?to_?bool|str2bool|strtobool)$")
_ON = re.compile(
    r"^(if set,? |whether (or not )?(to )?|flag to )?(allow|enable|use|apply|activate|turn on|add|include|perform)s?\b"
)
_OFF = re.compile(
    r"\b(no|not|non|dont|don't|doesn't|never|disable[sd]?|without|off|skip|avoid|deactivate|stop|ignore|instead|only|"
    r"un\w+|default\w*|true|false|exclude|remove|drop|suppress|prevent|rather|raw|random)\b"
)


def _says_on(call: Call, name: str) -> bool:
    """Say whether an option's own name and its help say that the flag switches something on."""
    text = call.constant(None, "help")
    if "dest" in call.keywords or not isinstance(text, str):
        return False
    own = name.lower().replace("_", " ")
    return _OFF.search(own) is None and _ON.search(text.lower()) is not None and _OFF.search(text.lower()) is None
