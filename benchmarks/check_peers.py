"""Other checkers beside ours, on the same small programs: the catalogue's bugs, and programs that are right.

    python -m benchmarks.check_peers --peers ENV    # ENV: a virtual environment with torchfix, torch-audit, trainproof

Bugs are the programs under ``tests/cases/catalogue`` that run on a CPU; right programs are those of the live rules and
those of the case files that nothing is marked in. Every tool is run as its documentation says: TorchFix on the
files, with
all rules; torch-audit by ``autopatch`` right after an optimizer is made, at every step; trainproof's ``epoch`` on a
log of
loss and learning rate; ours as ``check --live 20`` does. A tool points at a bug if one of its findings names what is
wrong: which codes do so for a row stands in ``check_peers.toml``, written by reading the documentation of each code.
A right
program counts as disturbed if a tool reports anything more than a hint or an information. Times are CPU seconds of the
program with the tool over those without, summed; a crash that the program alone does not have is counted apart.

TrainCheck is not run here: it needs a trace of a good run of each program first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.catalogue import read_manifest, read_rows
from benchmarks.common import ROOT, environment, write_result

WORKER = Path(__file__).with_name("check_peers_worker.py")
TABLE = Path(__file__).with_name("check_peers.toml")
TOOLS = ("trainworthy", "torch-audit", "trainproof")


def corpus() -> list[dict[str, Any]]:
    """Return the programs: name, whether it is right, the program."""
    from check.depths import read_cases
    from trainworthy.check.rule import all_rules

    manifest = read_manifest()
    rows = [row for row in read_rows() if row.number in manifest["codes"] and row.depth != "static"]
    alone = [row for row in rows if "cuda" not in row.program and "num_workers" not in row.program]
    found = [{"name": row.number, "right": False, "program": row.program} for row in alone]
    for code, rule in all_rules().items():
        file = ROOT / "tests" / "cases" / f"{code}.md"
        if "live" not in rule.depths or not rule.default or not file.exists():
            continue
        right = [case for case in read_cases(file) if case.depth == "live" and not case.marked(code)]
        right = [case for case in right if "num_workers" not in case.program]
        found += [{"name": f"{code}-{case.number}", "right": True, "program": case.program} for case in right[:1]]
    return found


def measure(tool: str, python: str, programs: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Run one tool over all programs: ``{name, codes, crashed, seconds}`` each."""
    jobs, answers = folder / f"{tool}.json", folder / f"{tool}-out.json"
    jobs.write_text(json.dumps(programs), encoding="utf-8")
    words = [python, str(WORKER), tool, str(jobs), str(answers)]
    subprocess.run(words, cwd=folder, env={**environment(), "OMP_NUM_THREADS": "1"}, check=True, timeout=1500)
    result: list[dict[str, Any]] = json.loads(answers.read_text(encoding="utf-8"))
    return result


def torchfix(env: str, programs: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Run TorchFix on all files at once."""
    files = folder / "files"
    files.mkdir()
    for one in programs:
        (files / f"{one['name']}.py").write_text(one["program"], encoding="utf-8")
    words = [f"{env}/bin/torchfix", "--select", "ALL", str(files)]
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    codes: dict[str, list[str]] = {}
    for line in run.stdout.splitlines():
        path, _, rest = line.partition(".py:")
        if rest:
            codes.setdefault(Path(path).name, []).append(rest.split()[1])
    return [{"name": one["name"], "codes": codes.get(one["name"], []), "crashed": False, "seconds": 0.0}
            for one in programs]  # fmt: skip


def summary(
    programs: list[dict[str, Any]], answers: list[dict[str, Any]], plain: dict[str, float], means: dict[str, list[str]]
) -> dict[str, Any]:
    """Count what one tool found."""
    by_name = {one["name"]: one for one in answers}
    bugs = [one["name"] for one in programs if not one["right"]]
    right = [one["name"] for one in programs if one["right"]]
    seconds = sum(one["seconds"] for one in answers)
    return {
        "pointed_at": [n for n in bugs if set(by_name[n]["codes"]) & set(means.get(n, []))],
        "any_finding": [n for n in bugs if by_name[n]["codes"]],
        "right_disturbed": [n for n in right if by_name[n]["codes"]],
        "crashed": [n for n in by_name if by_name[n]["crashed"]],
        "cpu_seconds": round(seconds, 2), "cpu_times_plain": round(seconds / max(sum(plain.values()), 1e-9), 2),
    }  # fmt: skip


def main() -> None:
    """Measure all tools and store the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", required=True)
    parser.add_argument("--every", type=int, default=1, help="take every Nth program only")
    options = parser.parse_args()
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    ours = {**read_manifest()["codes"]}
    programs = corpus()
    bugs = [one for one in programs if not one["right"]][:: options.every]
    programs = bugs + [one for one in programs if one["right"]][:: options.every]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = measure("plain", sys.executable, programs, folder)
        answers = {"torchfix": torchfix(options.peers, programs, folder)}
        for tool in TOOLS:
            python = sys.executable if tool == "trainworthy" else f"{options.peers}/bin/python"
            answers[tool] = measure(tool, python, programs, folder)
    alone = {one["name"]: one["seconds"] for one in plain}
    broken = {one["name"] for one in plain if one["crashed"]}  # bugs that raise by themselves
    for found in answers.values():
        for one in found:
            one["crashed"] &= one["name"] not in broken
            if one["name"] in broken and "raises" in ours.get(one["name"], []):
                one["codes"].append("raises")
    tools = {
        tool: summary(programs, found, alone, ours if tool == "trainworthy" else table.get(tool, {}))
        for tool, found in answers.items()
    }
    tools["torchfix"].update(cpu_seconds=None, cpu_times_plain=None)
    versions = subprocess.run(
        [f"{options.peers}/bin/pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    ).stdout
    wanted = {"torchfix", "torch-audit", "trainproof", "torch"}
    peers = {one["name"]: one["version"] for one in json.loads(versions) if one["name"].lower() in wanted}
    write_result(
        "check_peers", bugs=sum(not one["right"] for one in programs), right=sum(one["right"] for one in programs),
        every=options.every, tools=tools, peer_versions=peers,
    )  # fmt: skip
    for tool, found in tools.items():
        print(tool, {k: len(v) if isinstance(v, list) else v for k, v in found.items()})


if __name__ == "__main__":
    main()
