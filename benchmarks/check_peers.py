"""Other checkers beside ours, on the same small programs: bugs, their right twins, and programs that are right.

    python -m benchmarks.check_peers --peers ENV --checkouts FOLDER --work FOLDER [--traincheck-seconds S]

ENV is a virtual environment with torch, torchfix, torch-audit, trainproof and traincheck; FOLDER holds OWNER/NAME, as
``check_peers.toml`` lists them. Every tool is run as its documentation says: TorchFix on the files, with all rules;
torch-audit by ``autopatch`` right after an optimizer is made, at every step; trainproof's ``epoch`` on a log of loss,
learning rate and gradient norm; TrainCheck on traces (see ``check_peers_traincheck.py``); ours as ``check``,
``check --live 20`` and ``check --rehearse``.

Three counts for a bug. *named*: a finding says what is wrong: for a tool that names lines, one on the line of the
mistake (for ours, also of a code that stands for the mistake); for the others, a code that by its documentation means
this (``check_peers.toml``). *told apart*: it says something that it does not say of the right twin. *any*: it says
something. A right program of which a tool says something, beyond hints and information, is disturbed. A bug that
raises by itself, or does not run on a CPU, is not given to tools that run it. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import check_peers_corpora as corpora
from benchmarks.check_peers_corpora import Program, read_toml
from benchmarks.check_peers_fixtures import own_findings, tables_of
from benchmarks.check_peers_traincheck import ORDER_ONLY, examine_all
from benchmarks.common import environment, write_result

WORKER = Path(__file__).with_name("check_peers_worker.py")
OURS = ("trainworthy check", "trainworthy check --live", "trainworthy check --rehearse")
_JOBS = {"trainworthy check --live": "live", "trainworthy check --rehearse": "rehearse"}
Answers = dict[str, dict[str, Any]]
Reader = Callable[[str], Iterable[tuple[str, str, int]]]


def kept(folder: Path, name: str, key: str, make: Callable[[], Any]) -> Any:
    """Return what was made before for the same ``key``, or make it and keep it: a run can be continued."""
    file = folder / f"{name}-kept.json"
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return stored["made"]
    made = make()
    file.write_text(json.dumps({"key": key, "made": made}), encoding="utf-8")
    return made


def run_each(tool: str, python: str, programs: list[Program], folder: Path) -> Answers:
    """Run a tool over programs, each in a fork; what was run before, in this folder, is kept."""
    jobs, answers = folder / f"{tool}.json", folder / f"{tool}-out.json"
    text = json.dumps([one.to_dict() for one in programs])
    if not (answers.exists() and jobs.exists() and jobs.read_text(encoding="utf-8") == text):
        jobs.write_text(text, encoding="utf-8")
        words = [python, str(WORKER), tool, str(jobs), str(answers)]
        quiet = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run(words, cwd=folder, env={**environment(), **quiet}, check=True, timeout=3600)
    return {one["name"]: one for one in json.loads(answers.read_text(encoding="utf-8"))}


def read_all(command: list[str], programs: list[Program], folder: Path) -> dict[str, Any]:
    """Run a tool that reads files over all of them at once; return what it prints, and its CPU seconds."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for one in programs:
        (files / f"{one.name}.py").write_text(one.text, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([*command, str(files)], capture_output=True, text=True, check=False, timeout=3600,
                         env=environment())  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"said": run.stdout, "seconds": seconds}


def sorted_out(said: dict[str, Any], programs: list[Program], read: Reader) -> Answers:
    """Give each program the findings of a tool that read all of them at once."""
    seconds = said["seconds"] / len(programs)
    answers: Answers = {
        one.name: {"name": one.name, "found": [], "crashed": False, "seconds": seconds} for one in programs
    }
    for file, code, line in read(said["said"]):
        if Path(file).stem in answers:  # the folder may hold programs of an earlier run
            answers[Path(file).stem]["found"].append([code, line])
    return answers


def torchfix_findings(said: str) -> Iterable[tuple[str, str, int]]:
    """Read TorchFix's lines: ``path:line:column CODE text``."""
    for text in said.splitlines():
        path, _, rest = text.partition(".py:")
        if rest:
            yield path + ".py", rest.split()[1], int(rest.partition(":")[0])


def our_findings(said: str) -> Iterable[tuple[str, str, int]]:
    """Read our JSON; hints are left out."""
    for one in json.loads(said)["findings"]:
        if one["severity"] != "hint":
            yield one["path"], one["code"], one["line"]


def is_named(tool: str, program: Program, found: list[list[Any]], means: dict[str, Any]) -> bool:
    """Say whether one of the findings is the mistake."""
    lines, codes = set(program.lines), {code for code, _ in found}
    if tool in OURS:
        return any(code in program.codes and (line in lines or not lines) for code, line in found)
    if tool == "torchfix":
        return any(line in lines for _, line in found)
    return bool(codes & set(means.get(tool, {}).get(program.name, [])))


def count(
    tool: str, programs: list[Program], answers: Answers, plain: Answers, means: dict[str, Any]
) -> dict[str, Any]:
    """Count what a tool said of the programs of a corpus that it was given."""
    given = [one for one in programs if one.name in answers]
    whole = [one for one in given if not answers[one.name]["crashed"]]
    said = {one.name: {tuple(f) for f in answers[one.name]["found"]} for one in given}
    codes = {name: {code for code, _ in found} for name, found in said.items()}
    bugs = [one for one in given if not one.right]
    twins = [one for one in bugs if one.twin in answers]
    timed = [one for one in whole if one.name in plain and not plain[one.name]["crashed"]]
    seconds = sum(answers[one.name]["seconds"] for one in timed or whole)
    alone = sum(plain[one.name]["seconds"] for one in timed)
    return {
        "bugs": len(bugs), "right": len(given) - len(bugs), "with_twin": len(twins),
        "named": [one.name for one in bugs if is_named(tool, one, answers[one.name]["found"], means)],
        "told_apart": [one.name for one in twins if codes[one.name] - codes[one.twin]],
        "any": [one.name for one in bugs if said[one.name]],
        "disturbed": {one.name: sorted(codes[one.name]) for one in given if one.right and said[one.name]},
        "crashed": [one.name for one in given if answers[one.name]["crashed"]],
        "cpu_seconds": round(seconds, 2), "programs_timed": len(timed or whole),
        "times_plain": round(seconds / alone, 2) if alone else None,
    }  # fmt: skip


def together(programs: list[Program], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what our commands found between them."""
    listed = [one.name for one in programs]
    sums = {key: [n for n in listed if any(n in part[key] for part in parts)] for key in ("named", "told_apart", "any")}
    disturbed = {name: codes for part in parts for name, codes in part["disturbed"].items()}
    first = parts[0]
    return {**{key: first[key] for key in ("bugs", "right", "with_twin")}, **sums, "disturbed": disturbed,
            "crashed": sorted({name for part in parts for name in part["crashed"]}),
            "cpu_seconds": round(sum(part["cpu_seconds"] for part in parts), 2)}  # fmt: skip


def traincheck(programs: list[Program], plain: Answers, options: argparse.Namespace) -> dict[str, Any]:
    """Let TrainCheck learn from twins, for as long as there is time, in an order drawn by lot."""
    by_name = {one.name: one for one in programs}
    whole = {name for name, answer in plain.items() if not answer["crashed"]}
    result: dict[str, Any] = {}
    for corpus in ("traincheck", "catalogue"):
        pairs = [
            (one, by_name[one.twin]) for one in programs
            if one.corpus == corpus and {one.name, one.twin} <= whole
        ]  # fmt: skip
        random.Random(0).shuffle(pairs)
        answers = examine_all(options.peers, pairs, options.work / "traincheck", options.traincheck_seconds)
        result[corpus] = {**traincheck_counts(answers), "pairs": len(pairs)}
        alone = [2 * plain[a["name"]]["seconds"] for a in answers if "failed" not in a]
        result[corpus]["collecting_times_plain"] = (
            round(result[corpus]["collecting_cpu_seconds"] / sum(alone), 1) if alone else None
        )
    return result


def traincheck_counts(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Count its violations; those of order are left out in the counts named ``specific``."""
    done = [one for one in answers if "failed" not in one]
    collecting = (o["seconds"]["collect bug"] + o["seconds"]["collect again"] for o in done)
    specific = {
        one["name"]: {part: {t for t, kind in one[part].items() if kind not in ORDER_ONLY} for part in ("bug", "again")}
        for one in done
    }
    return {
        "examined": len(answers), "not_collected": {o["name"]: o["failed"] for o in answers if "failed" in o},
        "told_apart": [o["name"] for o in done if set(o["bug"]) - set(o["again"])],
        "told_apart_specific": [name for name, part in specific.items() if part["bug"] - part["again"]],
        "disturbed": [o["name"] for o in done if o["again"]],
        "disturbed_specific": [name for name, part in specific.items() if part["again"]],
        "invariants": [o["invariants"] for o in done], "violated": [len(o["bug"]) for o in done],
        "violated_by_right": [len(o["again"]) for o in done],
        "collecting_cpu_seconds": round(sum(collecting), 1),
        "cpu_seconds": round(sum(sum(o["seconds"].values()) for o in answers), 1),
    }  # fmt: skip


def versions(peers: str) -> dict[str, str]:
    """Return the versions of the other tools."""
    said = subprocess.run(
        [f"{peers}/bin/python", "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    ).stdout
    wanted = {"torchfix", "torch-audit", "trainproof", "traincheck", "torch"}
    return {one["name"]: one["version"] for one in json.loads(said) if one["name"].lower() in wanted}


_READERS: dict[str, Reader] = {"trainworthy check": our_findings, "torchfix": torchfix_findings}


def read_by(tool: str, peers: str, programs: list[Program], folder: Path) -> dict[str, Any]:
    """Let one of the tools that read files read all programs."""
    commands = {
        "trainworthy check": [
            sys.executable,
            "-m",
            "trainworthy",
            "check",
            "--isolated",
            "--format",
            "json",
            "--jobs=1",
        ],
        "torchfix": [f"{peers}/bin/torchfix", "--select", "ALL", "--jobs", "8"],
    }
    key = json.dumps([one.text for one in programs])
    found: dict[str, Any] = kept(folder, tool, key, lambda: read_all(commands[tool], programs, folder))
    return found


def measure(programs: list[Program], options: argparse.Namespace) -> tuple[dict[str, Answers], Answers]:
    """Run all tools but TrainCheck; return their answers, and those of the programs alone."""
    python = f"{options.peers}/bin/python"
    runnable = [one for one in programs if one.runs]
    plain = run_each("plain", python, runnable, options.work)
    answers = {
        tool: sorted_out(read_by(tool, options.peers, programs, options.work), programs, _READERS[tool])
        for tool in _READERS if tool not in options.without
    }  # fmt: skip
    good = [one for one in runnable if not plain[one.name]["crashed"]]
    for tool in ("trainworthy check --live", "torch-audit", "trainproof"):
        if tool in options.without:
            continue
        answers[tool] = run_each(_JOBS.get(tool, tool), python, good, options.work)
    dry = [one for one in programs if one.written]
    answers["trainworthy check --rehearse"] = run_each("rehearse", python, dry, options.work)
    return answers, plain


def main() -> None:
    """Measure all tools and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="keeps what was run, so that a run can be continued")
    parser.add_argument("--traincheck-seconds", type=float, default=3600.0, help="for each of its two corpora")
    parser.add_argument("--without", nargs="*", default=[], help="tools that are left out; the result names them")
    options = parser.parse_args()
    options.peers, options.work = str(Path(options.peers).resolve()), options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    means = read_toml("check_peers.toml")
    programs = [
        *corpora.catalogue(), *corpora.traincheck(), *corpora.notebook(), *corpora.case_files(), *corpora.examples(),
        *corpora.public(options.checkouts, options.work / "public"),
    ]  # fmt: skip
    answers, plain = measure(programs, options)
    tables: dict[str, dict[str, Any]] = {}
    for corpus in dict.fromkeys(one.corpus for one in programs):
        mine = [one for one in programs if one.corpus == corpus]
        counts = {tool: count(tool, mine, found, plain, means) for tool, found in answers.items()}
        tables[corpus] = {"trainworthy": together(mine, [counts[tool] for tool in OURS]), **counts}
        tables[corpus]["not_run"] = [one.name for one in mine if one.runs and plain[one.name]["crashed"]]
    own = {} if "own" in options.without else kept(
        options.work, "own", "", lambda: own_findings(options.peers, options.checkouts)
    )  # fmt: skip
    write_result(
        "check_peers", tables=tables, read=means["read"],
        without=options.without, traincheck=traincheck(programs, plain, options),
        fixtures=tables_of(own, means["own"]), peer_versions=versions(options.peers),
    )  # fmt: skip
    for corpus, counts in tables.items():
        for tool, found in counts.items():
            if tool != "not_run":
                print(corpus, tool, {k: len(v) if isinstance(v, (list, dict)) else v for k, v in found.items()})


if __name__ == "__main__":
    main()
