"""The path of shared libraries is set after the process has started.

What it finds:
    `os.environ["LD_PRELOAD"] = ...`, and the same of `LD_LIBRARY_PATH` and `LD_AUDIT`; also by `setdefault`, `update`
    and `os.putenv`.

Why:
    The loader reads these once, before Python runs: the process that sets them goes on with the libraries that it has.
    It looks like a cure for "cannot allocate memory in static TLS block" or a missing `libcudart.so` because the shell
    had the variable too, on the machine where it was tried.

How sure:
    Sure of this process. Programs that are started from it do read the variable: silent where the project mentions
    `subprocess`, `multiprocessing`, `os.system`, `os.spawn...` or `os.exec...`.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.environment import set_variables

BAD = """\
import os

os.environ["LD_PRELOAD"] = "/home/me/lib/libgomp.so.1"  # <- TW609
import torch

print(torch.ones(2))
"""

GOOD = """\
import os
import subprocess
import sys

environment = {**os.environ, "LD_PRELOAD": "/home/me/lib/libgomp.so.1"}
subprocess.run([sys.executable, "train.py"], env=environment, check=True)
"""
_READ_AT_START = frozenset({"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"})
_STARTS_PROGRAMS = (
    "subprocess", "multiprocessing", "system", "popen", "Popen", "posix_spawn", "spawn", "spawnv", "spawnve", "spawnvp",
    "execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe",
)  # fmt: skip


@rule(code="TW609", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is set in the environment."""
    if not analysis.mentions(*_READ_AT_START):
        return
    for name, _, node, context in set_variables(analysis):
        if name in _READ_AT_START and not analysis.mentions(*_STARTS_PROGRAMS):
            yield Hit(
                place=analysis.place(node, context),
                message=f"`{name}` is read when a process starts; this one has started",
                fix="Set it where Python is started: in the shell, the job script or the container.",
            )
