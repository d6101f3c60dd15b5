"""``[tool.trainworthy]`` and ``[tool.trainworthy.check]`` of pyproject.toml, and what the command line adds to them."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainworthy.check.rule import Rule, all_pages
from trainworthy.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXCLUDED = (
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache",
    "__pycache__",
    "node_modules", "site-packages", ".ipynb_checkpoints", "build", "dist", ".eggs", "__pypackages__",
)  # fmt: skip
_KEYS = ("select", "ignore", "extend-select", "exclude", "extend-exclude", "per-file-ignores", "baseline", "jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is checked.

    Attributes:
        select: Prefixes of codes, or names; None is every rule that is on by default.
        extend_select: Further ones, be they on by default or not.
        ignore: Those left out.
        exclude: Patterns of folders and files left out of folders.
        per_file_ignores: Codes left out by pattern of path.
        baseline: The file of known findings.
        jobs: Processes; None is one a core.
    """

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = EXCLUDED
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    baseline: str | None = None
    jobs: int | None = None

    def selects(self, rule: Rule) -> bool:
        """Say whether a rule runs; the longest matching prefix decides, and ignoring wins a tie."""
        chosen = _longest(rule, self.select) if self.select is not None else (1 if rule.default else 0)
        chosen = max(chosen, _longest(rule, self.extend_select))
        return chosen > 0 and _longest(rule, self.ignore) < max(chosen, 2)

    def selects_code(self, code: str, name: str, rules: Mapping[str, Rule]) -> bool:
        """Say whether findings of a code are wanted that no rule makes: those of the ranks of a virtual cluster."""
        if code in rules:
            return self.selects(rules[code])
        return self.selects(Rule(code=code, name=name, severity="error", module="", finders={}))

    def excludes(self, name: str) -> bool:
        """Say whether a folder or file is left out."""
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.exclude)

    def ignored_in(self, path: str, code: str) -> bool:
        """Say whether a code is left out for a path."""
        return any(
            code.startswith(codes) and (fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(Path(path).name, pattern))
            for pattern, codes in self.per_file_ignores
        )


def _longest(rule: Rule, words: tuple[str, ...] | None) -> int:
    lengths = [len(word) + 1 for word in words or () if rule.code.startswith(word)]
    lengths += [7 for word in words or () if word == rule.name]
    lengths += [1 for word in words or () if word == "ALL"]
    return max(lengths, default=0)


def load_config(start: str = ".") -> Config:
    """Read the nearest pyproject.toml, from ``start`` upwards, that has a table for us.

    Raises:
        UsageError: If a key is unknown or a value of the wrong kind.
    """
    folder = Path(start).resolve()
    folder = folder if folder.is_dir() else folder.parent
    for at in (folder, *folder.parents):
        file = at / "pyproject.toml"
        if file.is_file():
            table = _read(file)
            if table:
                return _from_table(table, str(file))
    return Config()


def _read(file: Path) -> dict[str, Any]:
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):  # a broken pyproject.toml is somebody else's message
        return {}
    table = tool.get("trainworthy", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        return {}
    inner = table.get("check", {})
    return {
        **{key: value for key, value in table.items() if key in _KEYS},
        **(inner if isinstance(inner, dict) else {}),
    }


def _from_table(table: dict[str, Any], where: str) -> Config:
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise UsageError(
            f"[tool.trainworthy.check] has no key {unknown[0]!r}.", where=where, fix=f"Known: {', '.join(_KEYS)}."
        )
    config = Config(
        select=_codes(table.get("select"), where) if "select" in table else None,
        extend_select=_codes(table.get("extend-select", []), where),
        ignore=_codes(table.get("ignore", []), where),
        exclude=(*_words(table.get("exclude", list(EXCLUDED)), where), *_words(table.get("extend-exclude", []), where)),
        per_file_ignores=tuple(
            (str(pattern), _codes(codes, where)) for pattern, codes in dict(table.get("per-file-ignores", {})).items()
        ),
    )
    baseline, jobs = table.get("baseline"), table.get("jobs")
    if baseline is not None and not isinstance(baseline, str):
        raise UsageError(f"baseline is {baseline!r}; it must be a path.", where=where)
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise UsageError(f"jobs is {jobs!r}; it must be a whole number of at least 1.", where=where)
    return replace(config, baseline=baseline, jobs=jobs)


def _words(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError(f"{value!r} must be a list of texts.", where=where)
    return tuple(value)


def _codes(value: object, where: str) -> tuple[str, ...]:
    return parse_codes(",".join(_words(value, where)), where)


def parse_codes(text: str, where: str) -> tuple[str, ...]:
    """Read codes, prefixes of codes, names of rules, or ALL.

    Raises:
        UsageError: If nothing is called so.
    """
    found = []
    rules = all_pages()
    for word in [one.strip() for one in text.split(",") if one.strip()]:
        code = word.upper()
        if code == "ALL" or any(known.startswith(code) for known in rules):
            found.append(code)
        elif any(one.name == word for one in rules.values()):
            found.append(word)
        else:
            raise UsageError(
                f"No rule is called {word!r}.", where=where, fix="`trainworthy check --list-rules` lists them."
            )
    return tuple(found)
