"""What the static check says of public projects that nobody read while the rules were written.

``python -m benchmarks.ecosystem --root DIR`` checks the commits of ``ecosystem.toml`` from clones in ``DIR``
(``DIR/owner+name``, ``DIR/owner+name/repo`` or a bare one) with the defaults and writes every finding into
``results/ecosystem_unread.json``. ``ecosystem.toml`` holds the verdicts of the first reading; ``docs/ecosystem.md``
shows them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.bug_pairs import export, git_folder
from benchmarks.common import environment, write_result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
KEPT = ("path", "cell", "line", "code", "severity", "message")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of clones")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    rows = manifest()["repository"]
    with ThreadPoolExecutor(options.jobs) as pool:
        read = list(pool.map(lambda row: checked(row, Path(options.root)), rows))
    for row in read:
        print(f"{row['repository']:<45} {row['lines']:>8} lines {len(row['findings']):>4} findings")
    write_result("ecosystem_unread", repositories=read)


def manifest() -> dict[str, list[dict[str, Any]]]:
    """Read the repositories and the verdicts."""
    return tomllib.loads((HERE / "ecosystem.toml").read_text(encoding="utf-8"))


def checked(row: dict[str, str], root: Path) -> dict[str, Any]:
    """Check one commit of a repository."""
    git = git_folder(root, row["name"])
    with tempfile.TemporaryDirectory() as folder:
        if git is None or not export(git, row["commit"], Path(folder)):
            raise SystemExit(f"{row['name']}: no clone with {row['commit']} in {root}")
        command = [sys.executable, "-m", "trainworthy", "check", ".", "--isolated", "--format", "json", "--jobs", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=folder)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{row['name']}: {done.stderr.strip()[-400:]}")
    said = json.loads(done.stdout)
    findings = [{name: one.get(name) for name in KEPT} for one in said["findings"]]
    return {
        "repository": row["name"],
        "commit": row["commit"],
        "files": said["files"],
        "lines": said["lines"],
        "findings": findings,
    }


if __name__ == "__main__":
    main()
