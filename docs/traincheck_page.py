"""The page of TrainCheck's published errors, from the pages under ``tests/check/traincheck``; nothing here is run.

The tests beside those pages run every program, with its error and without, and hold every row of the table.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from trainworthy.check.rule import all_rules

DOCS = Path(__file__).resolve().parent
PAGES = DOCS.parent / "tests" / "check" / "traincheck"
_DEPTHS = {
    "live": "`check --live`",
    "guard": "`tw.guard`, two gloo ranks",
}


def page() -> dict[Path, str]:
    """Build docs/traincheck.md."""
    reports = list(_reports().REPORTS.values())
    real, simulated = [r for r in reports if not r.simulated], [r for r in reports if r.simulated]
    lines = [
        "# TrainCheck's published errors", "",
        "[TrainCheck](https://github.com/OrderLab/TrainCheck) (OSDI 2025) learns invariants from runs that are known",
        "to be good and checks another run against them. Its paper lists 20 silent errors of user code, frameworks,",
        "compilers and hardware, of which it detects 18, and 6 that it found itself. Here each is reproduced small, in",
        "code of our own, and looked for without any other run: by rules that know what is wrong.", "",
        f"{len(real)} are reproduced with their own cause, on a CPU or on two real gloo ranks: {len(real)} of",
        f"{len(real)} are found, with line and cause. {len(simulated)} need broken hardware, a compiler of its time or",
        "torch before 1.9; what they do to a training is simulated, and declared so: "
        f"{len(simulated)} of {len(simulated)} are found.",
        "Each program has a variant without the error, in which nothing is found. The programs are in",
        "`tests/check/traincheck`; the tests there hold every row.", "",
        *_table(real), "",
        "By declared simulation:", "",
        *_table(simulated), "",
        "The programs were written by who wrote the rules, after the errors were known: this shows that rules reach",
        "these causes, not how often they meet them in code that nobody here has seen. For that, see",
        "[ecosystem.md](ecosystem.md).",
    ]  # fmt: skip
    return {DOCS / "traincheck.md": "\n".join(lines) + "\n"}


def _table(reports: list[Any]) -> list[str]:
    rules = all_rules()
    lines = ["| error | what happens | reproduced as | found by | rule | found |", "|---|---|---|---|---|---|"]
    for report in reports:
        lines.append(
            f"| [{report.id}]({report.link}) | {report.what} | {report.how} | {_DEPTHS[report.depth]} "
            f"| [{report.code}](rules/{report.code}.md) {rules[report.code].name} | yes |"
        )
    return lines


def _reports() -> Any:
    spec = importlib.util.spec_from_file_location("traincheck_reports", PAGES / "reports.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
