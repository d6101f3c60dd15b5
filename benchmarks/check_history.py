"""Which commits of a repository removed findings: bugs that its authors found, too.

$ python benchmarks/check_history.py path/to/repo/.git --last 200
"""

from __future__ import annotations

import argparse
import subprocess
from collections import Counter

from trainworthy.check.config import Config
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project

_LEFT_OUT = ("TW901", "TW890")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("git_dir")
    parser.add_argument("--last", type=int, default=100, help="commits")
    options = parser.parse_args()
    for commit in git(options.git_dir, "log", "--format=%h", "--no-merges", "-n", str(options.last)).decode().split():
        names = git(options.git_dir, "diff-tree", "--no-commit-id", "--name-only", "-r", "--diff-filter=M", commit)
        for path in names.decode(errors="replace").splitlines():
            if path.endswith((".py", ".ipynb")):
                compare(options.git_dir, commit, path)


def compare(git_dir: str, commit: str, path: str) -> None:
    """Print what a commit removed from, or brought into, one file."""
    before, after = codes(git_dir, f"{commit}^:{path}"), codes(git_dir, f"{commit}:{path}")
    if before is None or after is None or before == after:
        return
    title = git(git_dir, "log", "-1", "--format=%s", commit).decode(errors="replace").strip()
    print(f"{commit} {path}  gone {sorted(before - after)}  new {sorted(after - before)}  {title[:60]}")


def codes(git_dir: str, name: str) -> Counter[str] | None:
    """Check one version of a file by itself; None if it is not there."""
    data = git(git_dir, "show", name)
    if not data:
        return None
    shown = "<x>.ipynb" if name.endswith(".ipynb") else "<x>.py"
    result = collect([check_file(shown, Config(), data=data, project=Project())], Config())
    return Counter(one.code for one in result.findings if one.severity != "hint" and one.code not in _LEFT_OUT)


def git(git_dir: str, *words: str) -> bytes:
    return subprocess.run(["git", f"--git-dir={git_dir}", *words], capture_output=True, check=False).stdout


if __name__ == "__main__":
    main()
