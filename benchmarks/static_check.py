"""Speed of ``trainworthy check`` beside TorchFix, in lines a second, on folders of source.

``python -m benchmarks.static_check FOLDER... --torchfix PATH/TO/torchfix`` writes ``results/static_check.json``.
Both run as ``pip`` installs them: with their bytecode, which a checkout lacks before its first use.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import ROOT, environment, write_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--torchfix", help="its command; left out if not given")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    compileall.compile_dir(ROOT / "src", quiet=1)
    rows = [measure(folder, options) for folder in options.folders]
    for row in rows:
        print(row)
    write_result("static_check", jobs=options.jobs, folders=rows)


def measure(folder: str, options: argparse.Namespace) -> dict[str, object]:
    """Time both tools on one folder."""
    command = [sys.executable, "-m", "trainworthy", "check", folder, "--format", "json", "--isolated"]
    seconds, cpu, text = timed([*command, "--jobs", str(options.jobs)])
    data = json.loads(text)
    row: dict[str, object] = {
        "folder": Path(folder).name, "lines": data["lines"], "files": data["files"],
        "trainworthy_s": round(seconds, 2), "trainworthy_cpu_s": round(cpu, 2),
        "trainworthy_lines_per_s": round(data["lines"] / seconds), "trainworthy_findings": len(data["findings"]),
    }  # fmt: skip
    if options.torchfix:
        seconds, cpu, text = timed([options.torchfix, "--select", "ALL", folder])
        row |= {
            "torchfix_s": round(seconds, 2), "torchfix_cpu_s": round(cpu, 2),
            "torchfix_lines_per_s": round(data["lines"] / seconds),
            "torchfix_findings": sum("TOR" in line for line in text.splitlines()),
        }  # fmt: skip
    return row


def timed(command: list[str]) -> tuple[float, float, str]:
    """Return seconds, seconds of all cores, and what was printed."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu, done.stdout


if __name__ == "__main__":
    main()
