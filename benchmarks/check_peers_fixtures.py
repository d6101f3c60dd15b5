"""The other tools' own programs: what they report there, whether it is a mistake, and whether we report it too.

TorchFix's checker is tested on files with the findings that it must have; each is looked for by ``check`` with all
rules, on its line. torch-audit's demonstrations plant what its rules are for; what it prints is taken from a run, and
they are run under ``check --live 20`` with all rules. trainproof's examples are logs, without the programs that wrote
them, and TrainCheck's tests hold no training programs: there is nothing to run. Which codes report a mistake is in
``check_peers.toml``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import environment

_FINDING = re.compile(r"(\d+):\d+ (TOR\d+)")
_DEMOS = ("cv", "general", "nlp", "lightning")
_CHECK = [sys.executable, "-m", "trainworthy", "check", "--isolated", "--select", "ALL", "--format", "json"]


Own = dict[str, list[tuple[str, list[str]]]]


def own_findings(peers: str, checkouts: Path) -> Own:
    """Return, by tool, each of its findings in its own programs: the code, and our codes there."""
    return {
        "torchfix": list(_torchfix(checkouts / "pytorch-labs" / "torchfix")),
        "torch-audit": list(_torch_audit(peers, checkouts / "RMalkiv" / "torch-audit")),
    }


def tables_of(own: Own, verdicts: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return a row for each code: how often it stands in the tool's own programs, and how often we report the same."""
    return {tool: _table(found, verdicts[tool]) for tool, found in own.items()}


def _table(found: list[tuple[str, list[str]]], verdicts: dict[str, Any]) -> list[dict[str, Any]]:
    """Join findings, (code, our codes there), into a row for each code."""
    rows = []
    for code in sorted({code for code, _ in found}):
        verdict = verdicts[code]
        there = [set(ours) & set(verdict["ours"]) for other, ours in found if other == code]
        rows.append({"code": code, "what": verdict["what"], "mistake": verdict["mistake"], "findings": len(there),
                     "ours": sum(map(bool, there)), "our_codes": sorted(set().union(*there))})  # fmt: skip
    return rows


def _ours(words: list[str], folder: Path) -> tuple[list[dict[str, Any]], str]:
    run = subprocess.run([*_CHECK, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=1200,
                         env=environment())  # fmt: skip
    findings: list[dict[str, Any]] = json.loads(run.stdout)["findings"]
    return findings, run.stderr


def _torchfix(checkout: Path) -> Any:
    """Yield what each of its fixture files must have, with our codes on that line."""
    for answer in sorted((checkout / "tests" / "fixtures").glob("*/checker/*.txt")):
        program = answer.with_suffix(".py")
        ours, _ = _ours([program.name], program.parent)
        for line, code in _FINDING.findall(answer.read_text(encoding="utf-8")):
            yield code, sorted({one["code"] for one in ours if one["line"] == int(line)})


def _torch_audit(peers: str, checkout: Path) -> Any:
    """Yield the codes that its demonstrations print, each once a demonstration, with our codes in the same program."""
    for name in _DEMOS:
        program = checkout / "examples" / f"demo_{name}.py"
        run = subprocess.run([f"{peers}/bin/python", str(program)], capture_output=True, text=True, check=False,
                             timeout=1200, cwd=program.parent, env=environment())  # fmt: skip
        theirs = set(re.findall(r"TA\d{3}", run.stdout))
        ours, said = _ours(["--live", "20", program.name], program.parent)
        codes = {one["code"] for one in ours} | ({"raises"} if "The script failed" in said else set())
        for code in sorted(theirs):
            yield code, sorted(codes)
