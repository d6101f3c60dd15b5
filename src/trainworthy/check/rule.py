"""Rules: one file each in ``rules/``, registered by decorator, found by being in the folder.

A rule file is named by its fault (``softmax_before_cross_entropy.py``; it must read well after "allow") and holds:

- a docstring, which is also the rule's page: one line, then the sections *What it finds*, *Why*, *How sure*;
- ``BAD`` and ``GOOD``: programs that the shared test checks; lines with ``# <- TW203`` must be found, no others;
- a function under ``@rule(...)`` that yields hits.

The function of a static rule gets a ``static.analysis.Analysis``, of a dry one a rehearsal's tape, of a live
one what the guard has seen. One code may be seen at several depths: the functions then stand in the same file.
Nothing here imports torch, and no rule file may do so when it is imported.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from trainworthy.check import rules as _folder
from trainworthy.check.finding import DEPTHS, Depth, Finding, Hit, Severity
from trainworthy.errors import UsageError

# What a finder gets depends on its depth, which the type system cannot tie to a registry.
Finder = Callable[[Any], Iterable[Hit]]

FAMILIES = {
    "TW1": "shapes",
    "TW2": "loss, numerics, precision",
    "TW3": "optimizer, loop, initialisation",
    "TW4": "distributed",
    "TW5": "data",
    "TW6": "reproducibility, checkpoints",
    "TW7": "performance, memory",
    "TW8": "API, security, typing",
    "TW9": "files that cannot be checked",
}

_CODE = re.compile(r"TW[1-9]\d\d")
_rules: dict[str, Rule] = {}
_described: dict[str, Rule] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of mistake.

    Attributes:
        code: ``TW`` and three digits; never used twice.
        name: The file's name with dashes.
        severity: What a finding is unless its hit says otherwise.
        module: The file, as an importable name.
        finders: What finds it, by depth.
        default: Whether it runs without being selected.
    """

    code: str
    name: str
    severity: Severity
    module: str
    finders: dict[Depth, Finder]
    default: bool = True

    @property
    def depths(self) -> tuple[Depth, ...]:
        """The depths it runs at, cheapest first."""
        return tuple(depth for depth in DEPTHS if depth in self.finders)

    @property
    def found_by(self) -> str:
        """What finds it, in words: the depths, or the rehearsal itself."""
        return ", ".join(self.depths) or "rehearse"

    @property
    def family(self) -> str:
        """The heading it is listed under."""
        return FAMILIES[self.code[:3]]

    @property
    def page(self) -> str:
        """The docstring of its file."""
        return sys.modules[self.module].__doc__ or ""

    @property
    def summary(self) -> str:
        """The first line of its page."""
        return self.page.strip().split("\n", 1)[0].rstrip(".")

    @property
    def bad(self) -> str:
        """A program that has the fault."""
        return str(getattr(sys.modules[self.module], "BAD", ""))

    @property
    def good(self) -> str:
        """The program without it."""
        return str(getattr(sys.modules[self.module], "GOOD", ""))

    def findings(self, depth: Depth, subject: object) -> Iterator[Finding]:
        """Run the rule on what it looks at; nothing comes out at a depth that it does not have."""
        finder = self.finders.get(depth)
        if finder is None:
            return
        for hit in finder(subject):
            yield self.finding(hit, depth)

    def finding(self, hit: Hit, depth: Depth) -> Finding:
        """Sign a hit with the rule's code and name."""
        return Finding(
            code=self.code, name=self.name, severity=hit.severity or self.severity, depth=depth, place=hit.place,
            message=hit.message, evidence=hit.evidence, fix=hit.fix, edits=hit.edits, defects=hit.defects,
        )  # fmt: skip


def rule(*, code: str, severity: Severity, depth: Depth = "static", default: bool = True) -> Callable[[Finder], Finder]:
    """Register the decorated function as what finds ``code`` at ``depth``.

    Raises:
        ValueError: If the code is malformed, or taken by another file or for that depth.
    """
    if not _CODE.fullmatch(code):
        raise ValueError(f"{code!r} is not a code: TW and three digits")

    def register(find: Finder) -> Finder:
        module = find.__module__
        known = _rules.get(code)
        if known is not None and (known.module != module or depth in known.finders):
            raise ValueError(f"{code} is registered twice: {known.module} and {module}")
        name = module.rpartition(".")[2].replace("_", "-")
        finders = {**(known.finders if known else {}), depth: find}
        _rules[code] = Rule(code=code, name=name, severity=severity, module=module, finders=finders, default=default)
        return find

    return register


def described(*, code: str, severity: Severity, module: str) -> None:
    """Register the page of a code that rehearsals report themselves: it has no finder.

    Raises:
        ValueError: If the code is malformed, or taken.
    """
    if not _CODE.fullmatch(code) or code in _rules or code in _described:
        raise ValueError(f"{code!r} is no code, or taken: {module}")
    name = module.rpartition(".")[2].replace("_", "-")
    _described[code] = Rule(code=code, name=name, severity=severity, module=module, finders={})


def all_pages() -> dict[str, Rule]:
    """Return every code that any command can print, sorted: the rules, and what rehearsals report themselves."""
    rules = all_rules()
    from trainworthy.check import rehearsed

    for module in pkgutil.iter_modules(rehearsed.__path__):
        import_module(f"{rehearsed.__name__}.{module.name}")
    return dict(sorted({**rules, **_described}.items()))


def all_rules() -> dict[str, Rule]:
    """Return every rule by code, sorted; imports the whole folder."""
    _import_folder()
    return dict(sorted(_rules.items()))


@lru_cache(maxsize=1)
def _import_folder() -> None:
    for module in pkgutil.iter_modules(_folder.__path__):
        import_module(f"{_folder.__name__}.{module.name}")


def find_rule(text: str) -> Rule:
    """Return the rule of that code or name.

    Raises:
        UsageError: If there is none; the message names near ones.
    """
    wanted = text.strip()
    rules = all_pages()
    found = rules.get(wanted.upper())
    if found is not None:
        return found
    by_name = {one.name: one for one in rules.values()}
    key = wanted.lower().replace("_", "-")
    if key in by_name:
        return by_name[key]
    import difflib

    near = difflib.get_close_matches(wanted.upper(), rules, n=3) or difflib.get_close_matches(key, by_name, n=3)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"No rule is called {text!r}.", fix=f"{hint}`trainworthy check --list-rules` lists {len(rules)}.")
