"""The page of other checkers beside ours, from the stored result; nothing here measures."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "check_peers.json"
_CORPORA = {
    "catalogue": "The catalogue of mistakes, each program and its right twin",
    "traincheck": "Small reproductions of TrainCheck's published errors, one process, and the programs without them",
    "notebook": "Bugs of a notebook on distributed training",
    "static": "Case files of our static rules; they are only read",
    "live": "Right programs of our live rules' case files",
    "examples": "Our examples; they are only read, since they are made for a GPU",
    "public": "Public training scripts",
}
_TOOLS = {
    "trainworthy": "trainworthy, all of the following", "trainworthy check": "`trainworthy check`",
    "trainworthy check --live": "`trainworthy check --live 20`",
    "trainworthy check --rehearse": "`trainworthy check --rehearse`", "torchfix": "TorchFix, all rules",
    "torch-audit": "torch-audit, `autopatch`", "trainproof": "trainproof, `epoch`",
}  # fmt: skip
_RUNNING = {"trainworthy check --live", "torch-audit", "trainproof"}  # these run the program that they look at
_INTRO = """\
# Beside other checkers

TorchFix {TorchFix}, torch-audit {torch-audit}, trainproof {trainproof} and TrainCheck {traincheck} beside ours,
on the same programs, with torch {torch}. `python -m benchmarks.check_peers` measures; its docstring says how
each tool is run. Times are CPU seconds of the programs that were looked at; *x plain* is that over the programs
alone, imports left out.

- *named*: a finding says what is wrong. For a tool that names lines: one on the line of the mistake, and for
  ours of a code that stands for the mistake. For torch-audit and trainproof: a code that by its documentation
  means this mistake.
- *told apart*: the tool says something of the bug that it does not say of its right twin, whatever it is.
- *disturbed*: right programs of which the tool reports something, beyond hints and information.
- A bug that raises by itself, or does not run on one CPU, is not given to tools that run programs.

Ours runs with its default rules, hints left out as everywhere: what it only hints at, or finds with `--select ALL`, is
not counted as named. [The catalogue](catalogue.md) counts that too. The machine was busy while this was measured:
compare the times within a table only.

**These bugs are ours.** They were written to show mistakes that our rules are for, and the rules were mended
until they found them: what stands here for trainworthy says that the rules do what they promise, not how many
mistakes of others they meet ([public fixes](ecosystem.md) are for that). For the other tools it says what they
are not for. The last section turns it around: what the other tools report in their own test files and
demonstrations.
"""


def page() -> dict[Path, str]:
    """Build docs/peers.md."""
    data: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    lines = [_INTRO.format(**data["peer_versions"])]
    if data["without"]:
        lines += [f"Left out of this run, for want of time: {', '.join(data['without'])}.", ""]
    for corpus, title in _CORPORA.items():
        lines += _corpus(title, data["tables"][corpus])
    lines += _read(data["tables"]["public"]["trainworthy"]["disturbed"], data["read"])
    lines += [*_traincheck(data["traincheck"]), *_fixtures(data["fixtures"])]
    return {DOCS / "peers.md": "\n".join(lines).rstrip("\n") + "\n"}


def _corpus(title: str, table: dict[str, Any]) -> list[str]:
    lines = [f"## {title}", ""]
    if table["not_run"]:
        count = len(table["not_run"])
        lines += [f"{count} of the programs raise by themselves or do not run here; they are only read.", ""]
    lines += [
        "| tool | bugs | named | told apart | right programs | disturbed | failed | CPU s | x plain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, name in _TOOLS.items():
        found = table.get(key)  # none: it was left out of this run
        if found is None or not found["bugs"] + found["right"]:
            continue
        apart = f"{len(found['told_apart'])} of {found['with_twin']}" if found["with_twin"] else ""
        named = str(len(found["named"])) if found["bugs"] else ""
        times = found.get("times_plain") if key in _RUNNING else None
        lines.append(
            f"| {name} | {found['bugs']} | {named} | {apart} | {found['right']} | {len(found['disturbed'])} | "
            f"{len(found['crashed'])} | {found['cpu_seconds']:.0f} | {'' if times is None else f'{times:.1f}'} |"
        )
    return [*lines, ""]


def _read(disturbed: dict[str, list[str]], verdicts: dict[str, str]) -> list[str]:
    """Say what ours reports of public scripts, with the verdict of reading their source."""
    lines = [f"- `{name}`: {', '.join(codes)}; {verdicts.get(name, 'not read')}" for name, codes in disturbed.items()]
    return ["What ours reports of public scripts, read in their source:", "", *lines, ""] if lines else []


def _traincheck(found: dict[str, Any]) -> list[str]:
    lines = [
        "## TrainCheck", "",
        "TrainCheck learns invariants from a run that is known to be good; it was given the right twin of each bug.",
        "It is then asked about the bug, and about the twin run again with other random numbers: what it says of that",
        "is noise. Its tutorial says to ignore invariants of order that come from one run; *without those* leaves them",
        "out. Its authors advise five or six good runs; here it has one. A program takes six commands: three traces,",
        "two checks and inference.",
        "Programs are taken in an order drawn by lot for as long as there is time.", "",
        "| corpus | examined | failed | told apart | without those | twins disturbed | without those | "
        "invariants, violated by the bug, by the twin (medians) | CPU s a program | collecting, x plain |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for corpus, one in found.items():
        done = len(one["invariants"])
        medians = ", ".join(
            f"{statistics.median(one[key]):.0f}" if done else ""
            for key in ("invariants", "violated", "violated_by_right")
        )
        seconds = f"{one['cpu_seconds'] / one['examined']:.0f}" if one["examined"] else ""
        times = one["collecting_times_plain"]
        names = ("told_apart", "told_apart_specific", "disturbed", "disturbed_specific")
        apart, apart_specific, disturbed, disturbed_specific = (len(one[name]) for name in names)
        cells = [
            corpus, f"{one['examined']} of {one['pairs']}", len(one["not_collected"]), f"{apart} of {done}",
            apart_specific, disturbed, disturbed_specific, medians, seconds, "" if times is None else f"{times:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _fixtures(found: dict[str, Any]) -> list[str]:
    lines = [
        "## The other tools' own programs", "",
        "What TorchFix must find in its test files, and what torch-audit prints in its demonstrations (each code once",
        "a demonstration; they train for a step or two). *Mistake* is our reading: a wrong or lost result, or a crash;",
        "the rest is advice, speed, or an old name that still works. trainproof's examples are logs, without programs.",
        "",
    ]  # fmt: skip
    for tool, rows in found.items():
        wrong = [row for row in rows if row["mistake"]]
        lines += [
            f"{tool}: {sum(row['findings'] for row in rows)} findings of {len(rows)} codes, "
            f"{sum(row['findings'] for row in wrong)} of them mistakes; of these we report "
            f"{sum(row['ours'] for row in wrong)}.", "",
            "| code | what | mistake | findings | ours | by |", "|---|---|---|---|---|---|",
        ]  # fmt: skip
        for row in rows:
            codes = ", ".join(f"[{c}](rules/{c}.md)" if c.startswith("TW") else "an error" for c in row["our_codes"])
            lines.append(
                f"| {row['code']} | {row['what']} | {'yes' if row['mistake'] else 'no'} | {row['findings']} | "
                f"{row['ours']} | {codes} |"
            )
        lines.append("")
    return lines
