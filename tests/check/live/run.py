"""Run a small program under the guard."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from trainworthy.check.live.guard import Guard


def guarded(source: str, path: Path, *, steps: int = 20, **options: Any) -> tuple[Guard, dict[str, Any]]:
    """Execute ``source`` as the file ``path`` with the guard on; return the guard and the program's names."""
    path.write_text(source, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "program"}
    code = compile(source, str(path), "exec")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"off_rules_too": True, "from_first_line": True, **options}
        guard = Guard(steps=steps, roots=(str(path.parent),), **options)
        with guard:
            exec(code, names)
    return guard, names


def plainly(source: str, path: Path) -> dict[str, Any]:
    """Execute ``source`` with nobody looking."""
    names: dict[str, Any] = {"__name__": "program"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(source, str(path), "exec"), names)
    return names


def marked_lines(source: str, code: str) -> list[int]:
    """Return the lines of ``source`` that are marked as what a rule must find."""
    return [n for n, line in enumerate(source.splitlines(), 1) if line.endswith(f"# <- {code}")]


def same(a: Any, b: Any) -> bool:
    """Tell whether two results are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) and a.dtype == b.dtype
    return bool(a == b)
