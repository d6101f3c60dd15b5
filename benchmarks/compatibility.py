"""Rehearse public training scripts, unmodified, and write down which work and why the others do not.

    python benchmarks/compatibility_data.py DATA
    python benchmarks/compatibility.py --checkouts FOLDER --data DATA --work SCRATCH
    python benchmarks/compatibility.py --page docs/compatibility.md      # the table, from the JSON

``FOLDER`` holds git checkouts as ``owner/name``. The list is ``compatibility.toml``. Each script runs
in a copy of its checkout with ``trainworthy rehearse``; if that fails (or with ``--plain all``) it is
also run without trainworthy, on this machine without a GPU, up to two optimizer steps: the control
(``compatibility_plain.py``). A script does not run at all only if its control fails in the same way;
if the control trains, wants a GPU, or fails in another way, the failure is trainworthy's.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import tomllib

HERE = Path(__file__).resolve().parent
LIST = HERE / "compatibility.toml"
RESULT = HERE / "results" / "compatibility.json"
PLAIN = HERE / "compatibility_plain.py"
GPU = "h100-sxm-80gb"
TIME_LIMIT_S, PLAIN_LIMIT_S = 300, 300
PACKAGES = ("torch", "torchvision", "numpy", "transformers", "accelerate", "lightning", "gymnasium")

_LOST_CHILD = {"BrokenPipeError", "ConnectionResetError", "EOFError"}  # which one is a matter of time
_STORING = Lock()
_LINKING = Lock()  # two scripts of one checkout share its folders
_WANTS_GPU = re.compile(
    r"not compiled with CUDA|no NVIDIA driver|No CUDA GPUs|CUDA is not available|CUDA required|"
    r"requires? (a |at least one )?(CUDA|GPU)|not linked with support for cuda|No supported gpu backend|"
    r"but CUDA is not|torch\.cuda\.\w*FloatTensor not available|Need (CUDA|GPU)|No accelerator|"
    r"MisconfigurationException: .*(gpu|cuda|CUDA)|Invalid device id|device type: cuda|needs CUDA|"
    r"no gpu|cuda:\d is not available|PyTorch with CUDA|tensor_type.*cuda|"
    r"User specified an unsupported autocast device",
    re.IGNORECASE,
)


# --- running --------------------------------------------------------------------------------------


def run_all(entries: list[dict[str, Any]], options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> None:
    """Run the entries, ``options.jobs`` at a time; each result is kept as soon as it is there."""
    for repo in sorted({entry["repo"] for entry in entries}):
        copy_checkout(options.checkouts / repo, options.work / "rehearsal" / repo)
        if options.plain != "none":
            copy_checkout(options.checkouts / repo, options.work / "plain" / repo)
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(lambda entry: keep(run_entry(entry, options)), entry) for entry in entries]:
            done.result()


def copy_checkout(checkout: Path, work: Path) -> None:
    """Copy the files of a checkout, so that nothing is written into it."""
    if not work.exists():
        shutil.copytree(checkout, work, ignore=shutil.ignore_patterns(".git"), symlinks=True)


def run_entry(entry: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run one script plainly and rehearsed."""
    checkout = options.checkouts / entry["repo"]
    result = {
        "repo": entry["repo"],
        "revision": git(checkout, "rev-parse", "HEAD")[:10],
        "script": entry["script"],
        "args": entry.get("args", ""),
        "data": entry.get("data"),
        "group": entry.get("group", "list"),
        **({"world_size": entry["world_size"]} if "world_size" in entry else {}),
    }
    result.update(run_rehearsal(entry, options))
    if options.plain == "all" or (options.plain == "failures" and result["result"] != "ok"):
        result["plain"] = run_plain(entry, options)
    result["counts"] = counts(result)
    shown = f"{result['result']:<6} {result['seconds']:6.1f} s  {entry['repo']} {entry['script']}"
    plain = result.get("plain", {})
    print(shown, result["reason"][:150], "| plain:", plain.get("outcome"), plain.get("last_line", "")[:100], flush=True)
    return result


def counts(result: dict[str, Any]) -> bool:
    """Tell whether the script runs at all, so that a failure is trainworthy's."""
    return result["result"] == "ok" or not fails_alike(result)


def fails_alike(result: dict[str, Any]) -> bool:
    """Tell whether the control shows that the script fails by itself: in the same way, or without a step."""
    plain = result.get("plain")
    if plain is None or plain["outcome"] not in {"fails", "ends"}:
        return False
    kind, _, message = result["reason"].partition(": ")
    if kind == "no-step":
        return bool(plain["outcome"] == "ends" and plain["steps"] == plain["backwards"] == 0)
    if kind == "exited":
        return bool(plain["outcome"] == "fails" and f"exit code {plain['exit_code']}" in message)
    if plain["outcome"] != "fails":
        return False
    said = [plain["last_line"], *plain.get("other_lines", ())]
    if kind == "network" and any(_is_network(line) for line in said):
        return True
    return any(_alike(_fault(message), _fault(line)) for line in said)


def _fault(message: str) -> tuple[str, str]:
    """Return the class of an exception and the words that its message begins with."""
    message = re.sub(r"_\w+DataLoaderIter", "DataLoaderIter", re.sub(r"tensor\([^)]*\)", "tensor", message))
    name, _, text = message.partition(":")
    return name.rpartition(".")[2], re.sub(r"\W+", " ", text).strip()[:40]


def _alike(one: tuple[str, str], two: tuple[str, str]) -> bool:
    if {one[0], two[0]} <= _LOST_CHILD:
        return True
    return one[0] == two[0] and (one[1].startswith(two[1]) or two[1].startswith(one[1]))


def _is_network(message: str) -> bool:
    return bool(re.search(r"connect|resol|urlopen|offline|Max retries|LocalEntry|downloading", message, re.I))


def folder_of(entry: dict[str, Any], options: argparse.Namespace, kind: str) -> Path:
    """Return the folder the script starts in, with its data linked into place."""
    script = Path(entry["script"])
    cwd: Path = options.work / kind / entry["repo"] / entry.get("cwd", script.parent)
    with _LINKING:
        links = {**entry.get("links", {}), **(entry.get("plain_links", {}) if kind == "plain" else {})}
        for place, data in links.items():
            link_data(options.data / data, Path(os.path.normpath(cwd / place)))
    return cwd


def link_data(data: Path, place: Path) -> None:
    """Make ``data`` appear at ``place``, in place of a file of that name (this is a copy)."""
    if place.is_dir() and data.is_dir() and not place.is_symlink():
        for part in data.iterdir():
            link_data(part, place / part.name)
    elif not place.is_symlink():
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(data)


def command_of(entry: dict[str, Any], cwd: Path, kind: str, options: argparse.Namespace) -> list[str]:
    """Return what follows ``python``: the script (or ``-m module``) and its arguments."""
    arguments = shlex.split(entry.get("args", "").replace("{data}", str(options.data)))
    if "module" in entry:
        return ["-m", entry["module"], *arguments]
    script = options.work / kind / entry["repo"] / entry["script"]
    return [os.path.relpath(script, cwd), *arguments]


def environment(entry: dict[str, Any], cwd: Path, options: argparse.Namespace) -> dict[str, str]:
    """Return the environment: no network for libraries that would wait for it, pictures to files."""
    fixed = {"MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}
    places = {"{cwd}": str(cwd), "{packages}": str(options.packages)}
    more = dict(entry.get("env", {}))
    for mark, place in places.items():
        more = {name: value.replace(mark, place) for name, value in more.items()}
    return {**os.environ, **fixed, **more, "OMP_NUM_THREADS": "1"}


def run_plain(entry: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run the control; if it wants a GPU, once more with the CPU taken for one."""
    control = run_control(entry, options)
    if control["outcome"] != "wants a GPU":
        return control
    second = run_control(entry, options, "--cuda-is-cpu")
    return {**second, "cuda_is_cpu": True}


def run_control(entry: dict[str, Any], options: argparse.Namespace, *how: str) -> dict[str, Any]:
    """Run the script without trainworthy, up to two optimizer steps, on this machine."""
    cwd = folder_of(entry, options, "plain")
    if "plain_links" in entry:
        how = (*how, "--made-up-data")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "counts.json"
        command = [options.python, str(PLAIN), *how, str(report), *command_of(entry, cwd, "plain", options)]
        code, output, seconds = call(command, cwd, environment(entry, cwd, options), PLAIN_LIMIT_S)
        counted = json.loads(report.read_text()) if report.exists() else {"steps": 0, "backwards": 0}
    if code == 0 and (counted["steps"] or counted["backwards"]):
        outcome = "trains"
    elif code == 0:
        outcome = "ends"
    elif code is None:
        outcome = "still runs"
    elif _WANTS_GPU.search(output[-6000:]):
        outcome = "wants a GPU"
    else:
        outcome = "fails"
    *others, last = [without_paths(line, options) for line in exception_lines(output)] if code else [""]
    return {"outcome": outcome, "seconds": round(seconds, 1), "exit_code": code, **counted,
            "last_line": last, "other_lines": others}  # fmt: skip


def run_rehearsal(entry: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Rehearse the script and read the JSON result."""
    cwd = folder_of(entry, options, "rehearsal")
    limit_s = entry.get("time_limit_s", TIME_LIMIT_S)
    ours = ["-m", "trainworthy", "rehearse", "--gpu", GPU, "--format", "json", "--time-limit", str(limit_s)]
    if entry.get("data"):
        ours += ["--data", entry["data"]]
    if entry.get("world_size"):  # its ranks that can differ, each in a process of its own
        ours += ["--world-size", str(entry["world_size"])]
    command = [options.python, *ours, *command_of(entry, cwd, "rehearsal", options)]
    code, output, seconds = call(command, cwd, environment(entry, cwd, options), 2 * limit_s + 120, merge=False)
    shown: dict[str, Any] = {"seconds": round(seconds, 1)}
    try:
        report = json.loads(output)
    except ValueError:
        return {**shown, "result": "failed", "reason": f"no JSON, exit code {code}: {last_line(output)}"}
    error = report.get("error")
    good = error is None and report["verdict"] in {"fits", "does-not-fit"}
    shown.update(
        result="ok" if good else "failed",
        reason="" if error is None else without_paths(f"{error['kind']}: {error['message']}"[:400], options),
        where="" if error is None else without_paths(f"{error.get('path')}:{error.get('line')}", options),
        verdict=report["verdict"], steps=report["steps"], parameters=report["parameters"],
        flops_per_step=report["flops_per_step"], peak_memory_bytes=report["peak_memory_bytes"],
        unknown_flop_ops=len(report.get("unknown_flop_ops") or ()),
        **_of_cluster(report),
        on_cpu=any(f.get("code") == "TW701" for f in report.get("findings", ())),
    )  # fmt: skip
    return shown


def _of_cluster(report: dict[str, Any]) -> dict[str, Any]:
    cluster = report.get("cluster")
    if not cluster:
        return {}
    sent = max((rank["wire_bytes_per_step"] or 0 for rank in cluster["ranks"]), default=0)
    return {
        "ranks_rehearsed": sum(len(rank["rehearsed"]) for rank in cluster["ranks"]), "sent_bytes_per_step": sent,
        "finding_codes": sorted({finding["code"] for finding in report.get("findings") or ()}),
    }  # fmt: skip


def call(
    command: list[str], cwd: Path, env: dict[str, str], limit_s: float, *, merge: bool = True
) -> tuple[int | None, str, float]:
    """Run a program; return its exit code (None: stopped at the limit), output and seconds."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=limit_s)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        code = None
    return code, output if merge or output.strip() else errors, time.monotonic() - started


def last_line(output: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def exception_lines(output: str) -> list[str]:
    """Return the lines that name exceptions, the last one last, or else the last line."""
    named = re.findall(r"^((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Iteration|Exit)\b.*)$", output, re.M)
    return list(dict.fromkeys(line.strip()[:300] for line in named))[-6:] or [last_line(output)]


def without_paths(text: str, options: argparse.Namespace) -> str:
    """Shorten the folders of this machine."""
    work = (options.work / "rehearsal", options.work / "plain", options.data, options.checkouts, options.packages)
    for folder in (*work, Path(sys.prefix), Path.home()):
        text = text.replace(f"{folder}/", "")
    return text


def git(folder: Path, *arguments: str) -> str:
    """Return what git says."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


# --- result --------------------------------------------------------------------------------------


def about() -> dict[str, Any]:
    """Return machine, versions and date."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "trainworthy": git(HERE, "rev-parse", "HEAD")[:10],
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU",
        "gpu": GPU,
        "packages": versions,
    }


def main() -> None:
    """Run the list, or a part of it, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument(
        "--packages", type=Path, help="folder of packages in other versions, each in a folder of its own"
    )
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", default="", help="regular expression on 'repo script'")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--plain",
        choices=("failures", "all", "none"),
        default="failures",
        help="which scripts to run as they are too; stored control runs are kept",
    )
    parser.add_argument("--failed", action="store_true", help="only what is not stored as ok")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--page", type=Path, help="write the table into this page; runs nothing")
    options = parser.parse_args()
    stored = json.loads(options.output.read_text()) if options.output.exists() else {"results": []}
    if options.page:
        from compatibility_page import write_page

        write_page(options.page, stored)
        return
    for name in ("checkouts", "data", "work"):
        if getattr(options, name) is None:
            parser.error(f"--{name} is needed")
        setattr(options, name, getattr(options, name).absolute())
    options.packages = (options.packages or options.work / "packages").absolute()
    entries = tomllib.loads(LIST.read_text())["script"]
    chosen = [e for e in entries if re.search(options.only, f"{e['repo']} {e['script']}")]
    if options.failed:
        good = {key(r) for r in stored["results"] if r["result"] == "ok"}
        chosen = [e for e in chosen if key(e) not in good]
    run_all(chosen, options, lambda result: store(result, entries, options.output))


def key(entry: dict[str, Any]) -> tuple[str, str, str, int]:
    """Return what tells entries apart."""
    return entry["repo"], entry["script"], entry.get("args", ""), entry.get("world_size", 0)


def store(result: dict[str, Any], entries: list[dict[str, Any]], output: Path) -> None:
    """Merge a new result into the stored ones, in the order of the list."""
    with _STORING:
        stored = json.loads(output.read_text()) if output.exists() else {"results": []}
        known = {key(r): r for r in stored["results"]}
        old = known.get(key(result), {})
        if "plain" not in result and result["result"] != "ok" and "plain" in old:
            result["plain"] = old["plain"]
            result["counts"] = counts(result)
        if result["counts"]:  # the first run of a script that runs at all is kept
            now = {name: result[name] for name in ("result", "reason")}
            result["first"] = old.get("first", now)
        known[key(result)] = result
        results = [known[key(e)] for e in entries if key(e) in known]
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"about": about(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
