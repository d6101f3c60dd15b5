"""A rehearsed script has no effect outside: what it does to files, processes and the network.

=====================  =========================================================================
writing a file         goes to a scratch copy; later reads of that path see the copy
deleting, renaming     noted; the path is gone for the script, the user's file stays
starting a program     not run, reported as successful and silent; ``git`` queries, ``uname`` and
                       the like do run; ``nvidia-smi`` is answered for the virtual GPU
network                refused, naming the host; this machine's own ports are allowed
experiment trackers    switched off by their own settings; replaced by stubs if not installed
standard input         is empty; ``input()`` says so
=====================  =========================================================================

Three nets, one below the other: replaced Python functions (they redirect), an audit hook (it
refuses what got past them) and, on Linux, Landlock (the kernel refuses what C code tries). All are
for the child process of a rehearsal only; an audit hook cannot be taken off again.
"""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

from trainworthy.virtual.cluster import Cluster
from trainworthy.virtual.effects_audit import install_audit
from trainworthy.virtual.effects_files import install_files
from trainworthy.virtual.effects_landlock import restrict_writes
from trainworthy.virtual.effects_overlay import Overlay
from trainworthy.virtual.effects_processes import install_processes
from trainworthy.virtual.effects_trackers import install_trackers

_MAX_LISTED = 200
_HEADINGS = {
    "write": "files written went to a scratch folder and are gone",
    "delete": "deletions were noted, not done",
    "process": "programs were not started",
    "network": "network connections were refused",
    "stub": "packages that are not installed were replaced by stand-ins that do nothing",
    "data": "data sets were replaced by stand-ins",
    "weights": "pretrained weights were not loaded; shapes come from the configuration",
    "loop": "the script's own processes",
}


class Effects:
    """What the script tried to do outside, by kind, and the machinery that keeps it inside."""

    def __init__(self, scratch: str, gpu: str | None = None, cluster: Cluster | None = None) -> None:
        self.gpu = gpu
        self.cluster = cluster
        self.scratch = str(Path(scratch).resolve())
        self.overlay = Overlay(self.scratch, self.note)
        self._noted: dict[str, dict[str, int]] = {}

    def install(self) -> None:
        """Redirect and refuse from here on; only for a process that ends with the script."""
        restrict_writes((self.scratch, "/dev", "/proc"))
        install_files(self.overlay)
        install_processes(self)
        install_trackers(self)
        install_audit(self)
        builtins.input = _no_input

    def note(self, kind: str, what: str) -> None:
        """Remember an effect that was redirected or refused."""
        noted = self._noted.setdefault(kind, {})
        if what in noted or len(noted) < _MAX_LISTED:
            noted[what] = noted.get(what, 0) + 1

    def listed(self) -> list[dict[str, Any]]:
        """Return every effect as ``{kind, what, times}``."""
        return [
            {"kind": kind, "what": what, "times": times}
            for kind, noted in self._noted.items()
            for what, times in noted.items()
        ]

    def assumptions(self) -> list[str]:
        """Return one line for each kind of effect."""
        lines = []
        for kind, noted in self._noted.items():
            shown = ", ".join(list(noted)[:4])
            more = f" and {len(noted) - 4} more" if len(noted) > 4 else ""
            lines.append(f"{_HEADINGS.get(kind, kind)}: {shown}{more}")
        return lines


def _no_input(prompt: object = "", /) -> str:
    sys.stdout.write(str(prompt))
    error = EOFError("the script asks for standard input, and a rehearsal has none")
    error.trainworthy_fix = (  # type: ignore[attr-defined]
        "Pass the answer as an argument or an environment variable of the script."
    )
    raise error
